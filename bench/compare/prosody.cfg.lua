-- Prosody, as side-by-side runs have it: mod_limits is not loaded.
pidfile = "@DIR@/prosody.pid"
data_path = "@DIR@/data"
interfaces = { "127.0.0.1" }
c2s_ports = { @PORT@ }
c2s_direct_tls_ports = {}
s2s_ports = {}
http_ports = {}
https_ports = {}
log = { warn = "@DIR@/prosody.log" }
certificates = "@DIR@"
modules_enabled = { "roster", "saslauth", "tls", "disco", "carbons", "mam", "smacks", "register", "ping", "version" }
modules_disabled = { "s2s" }
authentication = "internal_hashed"
storage = "internal"
allow_registration = true
c2s_require_encryption = false
archive_expires_after = "never"
network_settings = { tcp_backlog = 4096 }
VirtualHost "localhost"
	ssl = { certificate = "@WORK@/cert.pem", key = "@WORK@/key.pem" }
