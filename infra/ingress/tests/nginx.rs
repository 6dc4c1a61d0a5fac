//! What a real NGINX makes of an Ingress like the operator's.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::HeaderMap;
use axum::routing::{any, get};
use chat_ingress::{Found, Nginx, Ports, render};
use chat_local::testing::temporary_folder;
use chat_local::{ports, programs};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const HOST: &str = "chat.example.com";

/// Answers with its name, the path and how it was asked; `/ws` is a socket.
async fn backend(name: &'static str) -> Result<u16> {
    let port = ports::free()?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let say = move |uri: axum::http::Uri, headers: HeaderMap, _body: String| async move {
        let header = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
        let proto = header("x-forwarded-proto").unwrap_or_default();
        let host = header("host").unwrap_or_default();
        format!("{name} {uri} {proto} {host}")
    };
    let echo = |upgrade: WebSocketUpgrade| async {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                let _ = socket.send(message).await;
            }
        })
    };
    let router = Router::new()
        .route("/ws/chat", get(echo))
        .fallback(any(say));
    tokio::spawn(async { axum::serve(listener, router).await });
    Ok(port)
}

struct Controller {
    folder: PathBuf,
    ports: Ports,
    found: Found,
    nginx: Nginx,
}

impl Controller {
    async fn start(annotations: Value, tls: Value) -> Result<Self> {
        let (web, sockets) = (backend("web").await?, backend("sockets").await?);
        let service = |name: &str, port: u16| {
            serde_json::from_value(json!({
                "metadata": {"name": name, "namespace": "one"},
                "spec": {"clusterIP": "127.0.0.1", "ports": [{"name": "http", "port": port}]},
            }))
        };
        let path = |path: &str, service: &str| {
            let backend = json!({"service": {"name": service, "port": {"name": "http"}}});
            json!({"path": path, "pathType": "Prefix", "backend": backend})
        };
        let paths = [path("/", "web"), path("/ws", "sockets")];
        let ingress = serde_json::from_value(json!({
            "metadata": {"name": "chat", "namespace": "one", "annotations": annotations},
            "spec": {
                "ingressClassName": "nginx",
                "tls": tls,
                "rules": [{"host": HOST, "http": {"paths": paths}}],
            },
        }))?;
        let found = Found {
            ingresses: vec![ingress],
            services: vec![service("web", web)?, service("sockets", sockets)?],
            secrets: Vec::new(),
        };
        let ports = Ports {
            http: ports::free()?,
            https: ports::free()?,
            health: ports::free()?,
        };
        let folder = temporary_folder()?;
        let program = programs::need("nginx", "nginx-light")?;
        let rendered = render(&found, "nginx", ports);
        let nginx = Nginx::start(&program, &folder, &rendered).await?;
        let controller = Self {
            folder,
            ports,
            found,
            nginx,
        };
        controller.await_answer(ports.health).await?;
        Ok(controller)
    }

    async fn await_answer(&self, port: u16) -> Result<()> {
        let answers = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_err()
            {
                tokio::task::yield_now().await;
            }
        };
        let patience = Duration::from_secs(30);
        let outcome = tokio::time::timeout(patience, answers).await;
        outcome.context("NGINX does not listen")
    }

    /// Finds the host here, and follows no redirect.
    fn client(&self) -> Result<Client> {
        Ok(Client::builder()
            .resolve(HOST, SocketAddr::from(([127, 0, 0, 1], 0)))
            // A connection that waits ends with the configuration that it began with.
            .pool_max_idle_per_host(0)
            .redirect(Policy::none())
            .tls_danger_accept_invalid_certs(true)
            .build()?)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{HOST}:{}{path}", self.ports.http)
    }

    async fn get(&self, path: &str) -> Result<String> {
        let answer = self.client()?.get(self.url(path)).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    async fn stop(mut self) -> Result<()> {
        self.nginx.quit()?;
        self.nginx.wait().await?;
        std::fs::remove_dir_all(&self.folder)?;
        Ok(())
    }
}

fn sockets() -> Value {
    json!({"nginx.org/websocket-services": "sockets"})
}

async fn socket(
    controller: &Controller,
) -> Result<tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", controller.ports.http)).await?;
    let url = format!("ws://{HOST}/ws/chat");
    Ok(tokio_tungstenite::client_async(url, stream).await?.0)
}

async fn assert_echoes(
    socket: &mut tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>,
) -> Result<()> {
    use futures::{SinkExt, StreamExt};
    socket.send(Message::text("here")).await?;
    let answer = socket.next().await.context("the socket has ended")??;
    assert_eq!(answer, Message::text("here"));
    Ok(())
}

#[tokio::test]
async fn each_path_is_answered_by_its_service() -> Result<()> {
    let controller = Controller::start(sockets(), Value::Null).await?;
    let port = controller.ports.http;
    for (path, service) in [
        ("/", "web"),
        ("/wsx", "web"),
        ("/a%20b?c=d", "web"),
        ("/ws", "sockets"),
        ("/ws/", "sockets"),
        ("/ws/more", "sockets"),
    ] {
        let expected = format!("{service} {path} http {HOST}:{port}");
        assert_eq!(controller.get(path).await?, expected);
    }
    let unknown = reqwest::get(format!("http://127.0.0.1:{port}/")).await?;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    controller.stop().await
}

#[tokio::test]
async fn without_an_ingress_there_is_nothing() -> Result<()> {
    let mut controller = Controller::start(sockets(), Value::Null).await?;
    controller.found.ingresses.clear();
    let empty = render(&controller.found, "nginx", controller.ports);
    controller.nginx.apply(&empty).await?;
    let patience = Duration::from_secs(30);
    tokio::time::timeout(patience, async {
        while controller.get("/").await.is_ok() {}
    })
    .await?;
    controller.stop().await
}

#[tokio::test]
async fn a_socket_stays_open_while_the_configuration_changes() -> Result<()> {
    let mut controller = Controller::start(sockets(), Value::Null).await?;
    let mut open = socket(&controller).await?;
    assert_echoes(&mut open).await?;
    let other = backend("other").await?;
    let spec = controller.found.services[0].spec.as_mut();
    let port = spec.and_then(|spec| spec.ports.as_mut()?.first_mut());
    port.context("a port")?.port = other.into();
    let changed = render(&controller.found, "nginx", controller.ports);
    controller.nginx.apply(&changed).await?;
    let patience = Duration::from_secs(30);
    tokio::time::timeout(patience, async {
        while !controller.get("/").await?.starts_with("other ") {}
        Result::<()>::Ok(())
    })
    .await??;
    assert_echoes(&mut open).await?;
    drop(open);
    controller.stop().await
}

#[tokio::test]
async fn only_services_of_sockets_are_asked_for_sockets() -> Result<()> {
    let controller = Controller::start(json!({}), Value::Null).await?;
    assert!(socket(&controller).await.is_err());
    controller.stop().await
}

#[tokio::test]
async fn a_body_may_be_as_large_as_the_ingress_says() -> Result<()> {
    let limit = json!({"nginx.org/client-max-body-size": "2000"});
    let controller = Controller::start(limit, Value::Null).await?;
    let client = controller.client()?;
    for (size, status) in [(2000, 200), (2001, 413)] {
        let request = client.post(controller.url("/")).body("x".repeat(size));
        assert_eq!(request.send().await?.status().as_u16(), status, "{size}");
    }
    controller.stop().await
}

#[tokio::test]
async fn with_a_certificate_everything_goes_by_tls() -> Result<()> {
    let tls = json!([{"hosts": [HOST], "secretName": "tls"}]);
    let mut controller = Controller::start(sockets(), tls).await?;
    // Without its certificate the host is served as it can be.
    assert!(controller.get("/").await?.starts_with("web / http"));
    let pair = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
    controller.found.secrets = vec![serde_json::from_value(json!({
        "metadata": {"name": "tls", "namespace": "one", "resourceVersion": "1"},
        "stringData": {},
    }))?];
    let data = controller.found.secrets[0].data.get_or_insert_default();
    for (key, pem) in [
        ("tls.crt", pair.cert.pem()),
        ("tls.key", pair.signing_key.serialize_pem()),
    ] {
        let bytes = k8s_openapi::ByteString(pem.into_bytes());
        data.insert(key.into(), bytes);
    }
    let encrypted = render(&controller.found, "nginx", controller.ports);
    assert_eq!(encrypted.problems, Vec::<String>::new());
    controller.nginx.apply(&encrypted).await?;
    let client = controller.client()?;
    let port = controller.ports.https;
    let url = format!("https://{HOST}:{port}/a");
    // For a moment, some are still answered by the configuration before.
    let patience = Duration::from_secs(30);
    let answer = tokio::time::timeout(patience, async {
        loop {
            if let Ok(answer) = client.get(&url).send().await {
                break answer.text().await;
            }
        }
    })
    .await??;
    assert_eq!(answer, format!("web /a https {HOST}:{port}"));
    let redirect = tokio::time::timeout(patience, async {
        loop {
            let answer = client.get(controller.url("/a?b=c")).send().await?;
            if answer.status() != StatusCode::OK {
                break Result::<_>::Ok(answer);
            }
        }
    })
    .await??;
    assert_eq!(redirect.status(), StatusCode::MOVED_PERMANENTLY);
    assert_eq!(
        redirect.headers()["location"],
        format!("https://{HOST}/a?b=c")
    );
    controller.stop().await
}
