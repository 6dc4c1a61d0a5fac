//! From objects to the text of `nginx.conf`; no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressRule, IngressSpec};
use kube::ResourceExt;

use crate::paths::locations;

/// Where NGINX listens.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Ports {
    #[arg(long, default_value_t = 8080)]
    pub http: u16,
    #[arg(long, default_value_t = 8443)]
    pub https: u16,
    /// Answers every request with 200.
    #[arg(long, default_value_t = 8081)]
    pub health: u16,
}

/// What there is in the cluster.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub ingresses: Vec<Ingress>,
    pub services: Vec<Service>,
    /// Of the type `kubernetes.io/tls`.
    pub secrets: Vec<Secret>,
}

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The text of `nginx.conf`; paths in it are relative to its folder.
    pub text: String,
    /// Certificates with their keys, by the name of the file. Another content has
    /// another name.
    pub certificates: BTreeMap<String, Vec<u8>>,
    /// What was left out, and why.
    pub problems: Vec<String>,
}

const HEAD: &str = "daemon off;
worker_processes 2;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 8192; }
http {
  access_log off;
  server_tokens off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  tcp_nodelay on;
  server_names_hash_bucket_size 256;
  ssl_protocols TLSv1.2 TLSv1.3;
  proxy_http_version 1.1;
  proxy_connect_timeout 5s;
  proxy_set_header Host $http_host;
  proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header Upgrade $upgrade;
  proxy_set_header Connection $connection_upgrade;
  map $upgrade $connection_upgrade { default upgrade; '' ''; }
";

/// The configuration for the Ingresses of a class. Of two that want the same path of
/// the same host, the older one has it.
pub fn render(found: &Found, class: &str, ports: Ports) -> Rendered {
    let mut out = Rendered {
        text: HEAD.to_owned(),
        ..Rendered::default()
    };
    let Ports {
        http,
        https,
        health,
    } = ports;
    // Writing to a String cannot fail.
    let _ = write!(
        out.text,
        "  server {{ listen {health}; set $upgrade ''; location / {{ return 200; }} }}
  server {{ listen {http} default_server; location / {{ return 404; }} }}
  server {{ listen {https} ssl http2 default_server; ssl_reject_handshake on; }}
"
    );
    let mut ingresses: Vec<_> = found
        .ingresses
        .iter()
        .filter_map(|it| Some((it, it.spec.as_ref()?)))
        .filter(|(_, spec)| spec.ingress_class_name.as_deref() == Some(class))
        .collect();
    ingresses.sort_by_key(|(it, _)| (it.creation_timestamp(), it.namespace(), it.name_any()));
    let mut hosts = BTreeSet::new();
    for (ingress, spec) in ingresses {
        let mut site = Site {
            found,
            ports,
            ingress,
            spec,
            out: &mut out,
        };
        for rule in spec.rules.iter().flatten() {
            site.server(rule, &mut hosts);
        }
    }
    out.text.push_str("}\n");
    out
}

/// One Ingress while it is written.
struct Site<'a> {
    found: &'a Found,
    ports: Ports,
    ingress: &'a Ingress,
    spec: &'a IngressSpec,
    out: &'a mut Rendered,
}

impl Site<'_> {
    fn server(&mut self, rule: &IngressRule, hosts: &mut BTreeSet<String>) {
        let host = rule.host.as_deref().unwrap_or_default();
        if !is_host(host) {
            return self.problem(format!("`{host}` is no host that is served here"));
        }
        if !hosts.insert(host.to_owned()) {
            return self.problem(format!("{host} belongs to an older Ingress"));
        }
        let limits = self.limits();
        let paths = self.paths(rule);
        let Ports { http, https, .. } = self.ports;
        let text = match self.certificate(host) {
            Some(file) => format!(
                "  server {{ listen {http}; server_name {host}; location / {{ return 301 https://$host$request_uri; }} }}
  server {{
    listen {https} ssl http2; server_name {host};
    ssl_certificate {file}; ssl_certificate_key {file};
    set $upgrade '';
{limits}{paths}  }}
"
            ),
            None => format!(
                "  server {{
    listen {http}; server_name {host};
    set $upgrade '';
{limits}{paths}  }}
"
            ),
        };
        self.out.text.push_str(&text);
    }

    /// The file of the host's certificate. Without it, TLS is not spoken.
    fn certificate(&mut self, host: &str) -> Option<String> {
        let tls = self.spec.tls.iter().flatten().find(|tls| {
            let hosts = tls.hosts.as_ref();
            hosts.is_none_or(|hosts| hosts.iter().any(|it| it == host))
        })?;
        let name = tls.secret_name.as_deref().unwrap_or_default();
        let namespace = self.ingress.namespace();
        let pem = |secret: &Secret| {
            let data = secret.data.as_ref()?;
            let (chain, key) = (&data.get("tls.crt")?.0, &data.get("tls.key")?.0);
            Some([chain.as_slice(), b"\n", key].concat())
        };
        let found = self.found.secrets.iter().find_map(|it| {
            let fits = it.name_any() == name && it.namespace() == namespace;
            let version = it.resource_version().unwrap_or_default();
            fits.then(|| Some((version, pem(it)?)))?
        });
        let Some((version, pem)) = found else {
            self.problem(format!("the Secret {name} holds no certificate"));
            return None;
        };
        let file = format!("{}_{name}_{version}.pem", namespace.unwrap_or_default());
        self.out.certificates.insert(file.clone(), pem);
        Some(file)
    }

    fn limits(&mut self) -> String {
        let mut text = String::new();
        for directive in [
            "client-max-body-size",
            "proxy-read-timeout",
            "proxy-send-timeout",
        ] {
            let key = format!("nginx.org/{directive}");
            let Some(value) = self.ingress.annotations().get(&key) else {
                continue;
            };
            if value.is_empty() || !value.chars().all(|it| it.is_ascii_alphanumeric()) {
                self.problem(format!("{key} is `{value}`"));
                continue;
            }
            let _ = writeln!(text, "    {} {value};", directive.replace('-', "_"));
        }
        text
    }

    fn paths(&mut self, rule: &IngressRule) -> String {
        let mut text = String::new();
        let mut taken = BTreeSet::new();
        for path in rule.http.iter().flat_map(|http| &http.paths) {
            let wanted = path.path.as_deref().unwrap_or("/");
            let Some(locations) = locations(wanted, &path.path_type) else {
                self.problem(format!("`{wanted}` is no path that is served here"));
                continue;
            };
            let action = self.action(path);
            for location in locations {
                if taken.insert(location.clone()) {
                    let _ = writeln!(text, "    location {location} {{ {action} }}");
                }
            }
        }
        text
    }

    fn action(&mut self, path: &HTTPIngressPath) -> String {
        let Some(backend) = &path.backend.service else {
            self.problem("a backend is no Service".into());
            return "return 503;".into();
        };
        let Some(address) = self.address(path) else {
            self.problem(format!(
                "the Service {} or its port is not there",
                backend.name
            ));
            return "return 503;".into();
        };
        let sockets = self
            .ingress
            .annotations()
            .get("nginx.org/websocket-services");
        let sockets = sockets.is_some_and(|all| all.split(',').any(|it| it == backend.name));
        let upgrade = if sockets {
            "set $upgrade $http_upgrade; proxy_buffering off; "
        } else {
            ""
        };
        format!("{upgrade}proxy_pass http://{address};")
    }

    /// The address of the Service, which leads to one of its pods.
    fn address(&self, path: &HTTPIngressPath) -> Option<String> {
        let backend = path.backend.service.as_ref()?;
        let namespace = self.ingress.namespace();
        let service = self.found.services.iter();
        let mut service =
            service.filter(|it| it.name_any() == backend.name && it.namespace() == namespace);
        let spec = service.next()?.spec.as_ref()?;
        let ip = spec.cluster_ip.as_deref().filter(|ip| *ip != "None")?;
        let wanted = backend.port.as_ref()?;
        let mut ports = spec.ports.iter().flatten();
        let port = ports.find(|it| match (&wanted.name, wanted.number) {
            (Some(name), _) => it.name.as_ref() == Some(name),
            (None, number) => Some(it.port) == number,
        })?;
        Some(match ip.contains(':') {
            true => format!("[{ip}]:{}", port.port),
            false => format!("{ip}:{}", port.port),
        })
    }

    fn problem(&mut self, what: String) {
        let (namespace, name) = (self.ingress.namespace(), self.ingress.name_any());
        let namespace = namespace.unwrap_or_default();
        self.out
            .problems
            .push(format!("Ingress {namespace}/{name}: {what}"));
    }
}

fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || "-._*".contains(it))
}

#[cfg(test)]
mod tests;
