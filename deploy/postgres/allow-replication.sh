# Lets replicas in, which the image does not by itself. Read by the image when it makes the cluster.
echo "host replication replication all scram-sha-256" >>"$PGDATA/pg_hba.conf"
