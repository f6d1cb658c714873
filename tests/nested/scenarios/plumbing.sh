dmesg | cut -c 1-80 | awk '{t=substr($0,2,12)+0; if (t-l>0.15) print l" -> "$0; l=t}'
cat /proc/uptime
time -p python3 -c pass
time -p python3 -c 'import socket, threading, hashlib'
time -p python3 -c 'import http.server'
time -p python3 -S -E -c 'import http.server'
python3 -X importtime -c 'import http.server' 2>&1 | sort -t'|' -k2 -n | tail -n 30
time -p xl list
time -p sleep 0
time -p xenstore-exists /
cat /proc/uptime
fail look
