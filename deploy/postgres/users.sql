-- What the application of examples/users_app and Weir's checks need.
CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
CREATE ROLE users LOGIN PASSWORD 'users';
GRANT SELECT, INSERT ON users TO users;
CREATE ROLE weir_check LOGIN PASSWORD 'weir_check';
CREATE ROLE replication LOGIN REPLICATION PASSWORD 'replication';
