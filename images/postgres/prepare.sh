groupadd --system --gid 999 postgres
useradd --system --gid postgres --no-create-home --home /var/lib/postgresql --shell /bin/bash --uid 999 postgres
install -d -o postgres -g postgres /var/lib/postgresql
# The entrypoint makes the cluster, on the volume, with the user's password.
mkdir -p /etc/postgresql-common
echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
# Just-in-time compilation brings LLVM, as large as all the rest. The server runs without it when its
# provider is not there.
cat >/etc/dpkg/dpkg.cfg.d/postgres <<'END'
path-exclude=/usr/lib/*/libLLVM*
path-exclude=/usr/lib/llvm-*
path-exclude=/usr/lib/postgresql/*/lib/llvmjit*
path-exclude=/usr/lib/postgresql/*/lib/bitcode/*
END
