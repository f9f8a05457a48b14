# The user and its number are part of what people rely on: they own files on mounted volumes.
groupadd --system --gid 101 nginx
useradd --system --gid nginx --no-create-home --home /nonexistent --shell /bin/false --uid 101 nginx
