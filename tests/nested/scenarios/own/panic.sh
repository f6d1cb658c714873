# A Rust panic says where on the console and ends the domain as crashed.
# types pv pvh
firewall uplink=no extra=debug=panic
says fw 'CRASH panic: panicked at .*src/main.rs:[0-9]+:[0-9]+'
says fw 'asked for by debug=panic'
await 10 'the domain to be crashed' crashed fw
