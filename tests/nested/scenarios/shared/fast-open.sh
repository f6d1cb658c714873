# TCP Fast Open (RFC 7413): a request in the SYN is answered, whether the server takes it from there or wants it again,
# because it does not know the cookie any more or because it does not do Fast Open any more.
shared_client carol
sysctl=/proc/sys/net/ipv4

# counter NAME: what a TCP counter of the client stands at.
counter() {
    in_client carol "awk -v name=$1 '
        /^TcpExt:/ && !column { for (n = 1; n <= NF; n++) if (\$n == name) column = n; next }
        /^TcpExt:/ { print \$column }' /proc/net/netstat"
}
get() {
    in_client carol "curl -s -S -v --tcp-fastopen --max-time 60 http://$UPLINK/hello 2>&1"
    saw carol 'hello from the uplink'
}

echo 3 >$sysctl/tcp_fastopen
echo 11111111-22222222-33333333-44444444 >$sysctl/tcp_fastopen_key
# The first connection gets the cookie, the second one uses it.
get
taken=$(counter TCPFastOpenActive)
get
expect 'the server to take the data of the SYN' [ "$(counter TCPFastOpenActive)" -gt "$taken" ]
refused=$(counter TCPFastOpenActiveFail)
echo 55555555-66666666-77777777-88888888 >$sysctl/tcp_fastopen_key
get
refused_once=$(counter TCPFastOpenActiveFail)
expect 'the server to take the SYN and not its data' [ "$refused_once" -gt "$refused" ]
# With the new cookie the data is taken again.
get
echo 1 >$sysctl/tcp_fastopen
get
expect 'the server to take the SYN and not its data' [ "$(counter TCPFastOpenActiveFail)" -gt "$refused_once" ]
