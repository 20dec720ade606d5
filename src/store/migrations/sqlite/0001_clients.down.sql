DROP TABLE weir_schema;
DROP TABLE backend_overrides;
DROP TABLE audit;
DROP TABLE client_keys;
DROP TABLE client_networks;
DROP TABLE clients;
