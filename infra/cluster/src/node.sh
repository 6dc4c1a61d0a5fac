# Furnishes the namespaces of a node, and then is its process 1.
# node.sh FOLDER ADDRESS SERVICES
folder=$1 address=$2 services=$3

mount -t tmpfs -o mode=755 node /run
for place in lib log; do
    mount --bind "$folder/var/$place" "/var/$place"
done

# The kubelet sets these for the whole machine, unless they are set already.
mkdir "$folder/kernel"
while read -r setting value; do
    file=$folder/kernel/${setting##*/}
    echo "$value" >"$file"
    mount --bind "$file" "/proc/sys/$setting"
done <<END
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
END

# A bridge without ports, where the kernel has no dummy device. It also is the way to
# the Services: their addresses are replaced only after a way was found.
ip link set lo up
ip link add node0 type bridge
ip address add "$address/24" dev node0
ip link set node0 up
ip route add "$services" dev node0
# Clients inside may have any of these addresses, each its own.
ip route add local 10.32.0.0/11 dev lo

cd /proc/sys/net
echo 1 >ipv4/ip_forward
echo 1 >ipv4/conf/all/route_localnet
# Programs without rights may listen on 80 and 443.
echo 0 >ipv4/ip_unprivileged_port_start
# Answers of a Pod to its neighbour pass by the rules that replaced the address.
echo 1 >bridge/bridge-nf-call-iptables
cd /

: >"$folder/run/furnished"
exec tini -- sleep infinity
