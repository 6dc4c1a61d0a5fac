//! NGINX in front of the services: its whole configuration is generated from
//! the table of routes.

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use chat_events::routes::{Backend, ROUTES, Route};
use chat_events::web::{CSP, HEADERS};
use chat_events::{Code, Service, limits};
use nix::sys::signal::Signal;

use super::{Place, START_PATIENCE, StackOptions};
use crate::daemon::{Daemon, Plan};
use crate::process::Program;
use crate::{programs, space};

/// What the configuration depends on.
pub struct Site {
    pub port: u16,
    pub client: Option<PathBuf>,
    pub upstreams: Vec<(Service, Vec<u16>)>,
    /// Ports at which services reach another service that has many pods.
    pub doors: Vec<(Service, u16)>,
    pub as_root: bool,
}

impl Site {
    pub fn new(
        port: u16,
        options: &StackOptions,
        places: &[Place],
        doors: &[(Service, u16)],
    ) -> Self {
        let ports = |service| {
            let of_service = places.iter().filter(|it| it.service == service);
            (service, of_service.map(|it| it.port).collect())
        };
        Self {
            port,
            client: options.client.clone(),
            upstreams: Service::ALL.map(ports).to_vec(),
            doors: if options.replicas == 1 {
                Vec::new()
            } else {
                doors.to_vec()
            },
            as_root: nix::unistd::geteuid().is_root(),
        }
    }

    /// The text of `nginx.conf`; every path in it is relative to the prefix.
    pub fn config(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        if self.as_root {
            // Else the workers could not read a checkout below /root.
            out.push_str("user root;\n");
        }
        // One process: killing it leaves no worker behind.
        out.push_str(
            "daemon off;
master_process off;
pid nginx.pid;
error_log /dev/stderr warn;
events { worker_connections 8192; }
http {
  access_log off;
  server_tokens off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  types {
    text/html html; text/css css; text/javascript js mjs; application/json json map;
    application/manifest+json webmanifest; image/svg+xml svg; image/png png;
    image/x-icon ico; image/webp webp; font/woff2 woff2; text/plain txt;
  }
  default_type application/octet-stream;
  sendfile on; tcp_nodelay on;
  gzip on; gzip_vary on; gzip_min_length 1024;
  gzip_types text/css text/javascript application/json application/manifest+json image/svg+xml;
  keepalive_timeout 75s;
  large_client_header_buffers 4 8k;
  proxy_http_version 1.1;
  proxy_connect_timeout 2s;
  # Another pod is asked only when the first cannot have done the work.
  proxy_next_upstream error timeout;
  proxy_next_upstream_tries 3;
  proxy_set_header Host $http_host;
  proxy_set_header X-Request-Id $request_id;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host \"\";
  proxy_set_header X-Real-IP \"\";
  proxy_set_header Forwarded \"\";
  proxy_set_header Connection \"\";
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
",
        );
        for (service, ports) in &self.upstreams {
            self.upstream(out, *service, ports);
        }
        self.public(out);
        for (service, port) in &self.doors {
            let name = service.name();
            let _ = write!(
                out,
                "  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://{name}; proxy_read_timeout 30s; }}
  }}
"
            );
        }
        out.push_str("}\n");
    }

    fn upstream(&self, out: &mut String, service: Service, ports: &[u16]) {
        let _ = writeln!(out, "  upstream {} {{", service.name());
        // Every pod is asked every time: to be refused costs nothing, and a pod that was
        // just started may be the only one.
        for port in ports {
            let _ = writeln!(out, "    server 127.0.0.1:{port} max_fails=0;");
        }
        out.push_str("    keepalive 32;\n  }\n");
    }

    fn public(&self, out: &mut String) {
        let _ = write!(
            out,
            "  server {{
    listen 127.0.0.1:{};
    client_max_body_size {};
    client_header_timeout {}s;
    error_page 413 @too_large;
    error_page 502 503 =503 @unavailable;
    error_page 504 @timeout;
",
            self.port,
            limits::BODY,
            limits::HANDSHAKE.as_secs(),
        );
        problem(out, "too_large", Code::TooLarge);
        problem(out, "unavailable", Code::Unavailable);
        problem(out, "timeout", Code::Timeout);
        for route in &ROUTES {
            match route.backend {
                Backend::Service(service) => proxied(out, route, service),
                Backend::Client => self.client(out),
            }
        }
        out.push_str("  }\n");
    }

    /// The built client: known files, hashed assets for ever, and the page of
    /// the app for every other path.
    fn client(&self, out: &mut String) {
        // An API that does not exist is no page of the app.
        for (name, prefix) in [("api", "/api/"), ("internal", "/internal/")] {
            let _ = writeln!(
                out,
                "    location ^~ {prefix} {{ return 404; error_page 404 @no_{name}; }}"
            );
            problem(out, &format!("no_{name}"), Code::NotFound);
        }
        let Some(client) = &self.client else {
            out.push_str("    location / { return 404; }\n");
            return;
        };
        let root = client
            .to_string_lossy()
            .replace('\\', "\\\\")
            .replace('"', "\\\"");
        let _ = writeln!(out, "    root \"{root}\";");
        for (location, files, cache) in [
            (
                "^~ /assets/",
                "$uri =404",
                "public, max-age=31536000, immutable",
            ),
            ("/", "$uri /index.html", "no-cache"),
        ] {
            let _ = writeln!(out, "    location {location} {{\n      try_files {files};");
            headers(out);
            let _ = write!(
                out,
                "      add_header Content-Security-Policy \"{CSP}\" always;\n      \
                 add_header Cache-Control \"{cache}\";\n    }}\n"
            );
        }
    }
}

/// A pair of locations: the path itself, and what is below it.
fn proxied(out: &mut String, route: &Route, service: Service) {
    for location in [
        format!("= {}", route.prefix),
        format!("^~ {}/", route.prefix),
    ] {
        let _ = writeln!(
            out,
            "    location {location} {{\n      proxy_pass http://{};",
            service.name()
        );
        headers(out);
        if route.socket {
            out.push_str(
                "      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Host $http_host;
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host \"\";
      proxy_set_header X-Real-IP \"\";
      proxy_set_header Forwarded \"\";
      proxy_buffering off;
      proxy_read_timeout 3600s;
      proxy_send_timeout 3600s;
",
            );
        } else {
            out.push_str("      proxy_read_timeout 30s;\n");
        }
        out.push_str("    }\n");
    }
}

fn headers(out: &mut String) {
    for (name, value) in HEADERS {
        // The services send some of them as well; each goes out once.
        let _ = writeln!(out, "      proxy_hide_header {name};");
        let _ = writeln!(out, "      add_header {name} \"{value}\" always;");
    }
}

/// An answer of NGINX's own, in the form of all others.
fn problem(out: &mut String, name: &str, code: Code) {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": code.title(),
        "status": code.status(),
        "code": code,
    });
    let _ = writeln!(
        out,
        "    location @{name} {{\n      default_type application/problem+json;\n      \
         add_header Cache-Control \"no-store\" always;"
    );
    headers(out);
    let _ = writeln!(out, "      return {} '{body}';\n    }}", code.status());
}

pub fn daemon(folder: &Path, site: &Site) -> Result<Daemon> {
    let nginx = programs::need("nginx", "nginx-light")?;
    let prefix = folder.join("nginx");
    let file = prefix.join("nginx.conf");
    std::fs::write(&file, site.config()).with_context(|| space::write_failed(&file))?;
    let port = site.port;
    Ok(Daemon::new(Plan {
        name: "nginx".into(),
        program: Program::new(nginx, &prefix)
            .arg("-p")
            .arg(prefix.to_string_lossy())
            .arg("-e")
            .arg("/dev/stderr")
            .arg("-c")
            .arg("nginx.conf"),
        log: folder.join("logs/nginx.log"),
        pid_file: folder.join("run/nginx.pid"),
        // Open sockets would hold up a graceful end for an hour.
        stop_signal: Signal::SIGTERM,
        stop_patience: Duration::from_secs(10),
        start_patience: START_PATIENCE,
        advice: "",
        ready: Arc::new(move || {
            Box::pin(async move {
                tokio::net::TcpStream::connect(("127.0.0.1", port))
                    .await
                    .is_ok()
            })
        }),
    }))
}
