//! What the six workloads read: settings of the services, and NGINX's own file.

use std::collections::BTreeMap;
use std::fmt::Write;

use chat_events::{Code, Service, web};
use k8s_openapi::api::core::v1::ConfigMap;

use super::{meta, settings};
use crate::resources::Resources;
use crate::validate::Validated;

pub fn build(chat: &Validated, out: &mut Resources) {
    for service in Service::ALL {
        let settings = settings::serve(chat, service);
        out.config_maps.push(ConfigMap {
            metadata: meta::object(chat, service.name(), ""),
            data: Some(settings.plain),
            ..ConfigMap::default()
        });
    }
    out.config_maps.push(ConfigMap {
        metadata: meta::object(chat, "web", ""),
        data: Some(web()),
        ..ConfigMap::default()
    });
}

/// NGINX serves the built client alone; the paths of the services never come here.
pub fn web() -> BTreeMap<String, String> {
    let mut headers = String::new();
    for (name, value) in web::HEADERS {
        // Writing to a String cannot fail.
        let _ = writeln!(headers, "      add_header {name} \"{value}\" always;");
    }
    let problem = serde_json::json!({
        "type": "about:blank",
        "title": Code::NotFound.title(),
        "status": Code::NotFound.status(),
        "code": Code::NotFound,
    });
    let csp = web::CSP;
    let status = Code::NotFound.status();
    let config = format!(
        "daemon off;
worker_processes 2;
pid /tmp/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  server_tokens off;
  client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
  types {{
    text/html html; text/css css; text/javascript js mjs; application/json json map;
    application/manifest+json webmanifest; image/svg+xml svg; image/png png;
    image/x-icon ico; image/webp webp; font/woff2 woff2; text/plain txt;
  }}
  default_type application/octet-stream;
  sendfile on; tcp_nodelay on;
  gzip on; gzip_vary on; gzip_min_length 1024;
  gzip_types text/css text/javascript application/json application/manifest+json image/svg+xml;
  keepalive_timeout 75s;
  client_header_timeout 10s;
  client_max_body_size 1;
  server {{
    listen 3000;
    root /srv;
    location = /livez {{ return 204; }}
    location = /readyz {{ try_files /index.html =503; }}
    location ~ ^/(api|internal|ws)(/|$) {{
      default_type application/problem+json;
      add_header Cache-Control \"no-store\" always;
{headers}      return {status} '{problem}';
    }}
    location ^~ /assets/ {{
      try_files $uri =404;
{headers}      add_header Content-Security-Policy \"{csp}\" always;
      add_header Cache-Control \"public, max-age=31536000, immutable\";
    }}
    location / {{
      try_files $uri /index.html;
{headers}      add_header Content-Security-Policy \"{csp}\" always;
      add_header Cache-Control \"no-cache\";
    }}
  }}
}}
"
    );
    [("nginx.conf".to_owned(), config)].into()
}
