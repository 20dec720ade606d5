# Starts a server that follows the primary, whichever that is: it is reached through Weir. The first time, its data is copied from there.
# Promote it with: docker compose exec --env PGPASSWORD=postgres slave1 psql --username=postgres --command='SELECT pg_promote()'
set -euo pipefail
PATH=$(ls -d /usr/lib/postgresql/*/bin):$PATH
data=/var/lib/postgresql/data
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
chown postgres:postgres "$data"
chmod 700 "$data"
primary="host=weir-postgres port=5433 user=replication password=replication application_name=$NAME"
until [[ -s $data/PG_VERSION ]]; do
  as_postgres pg_basebackup --dbname="$primary" --pgdata="$data" --write-recovery-conf --checkpoint=fast && break
  find "$data" -mindepth 1 -delete
  sleep 1
done
exec setpriv --reuid=postgres --regid=postgres --init-groups postgres -D "$data" -c listen_addresses='*' -c wal_receiver_timeout=10s
