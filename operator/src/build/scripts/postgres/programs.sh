# Debian's packages keep the programs of each version in a folder of its own,
# official images have them on PATH.
for folder in /usr/lib/postgresql/*/bin; do
  if [ -d "$folder" ]; then PATH="$folder:$PATH"; fi
done
export PATH
