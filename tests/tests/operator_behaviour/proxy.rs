//! A reverse proxy between the operator and the API server that counts writes and
//! makes calls fail in the ways in which they do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chat_kube::access::Access;
use futures::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// What the proxy does to calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The server hears writes up to this one, and the answer to the last of them
    /// never comes; nothing at all goes through after it.
    SilenceFromWrite(usize),
    /// Every n-th call that is no watch is answered so, and not passed on.
    Every(usize, u16),
    /// Every n-th call that is no watch is passed on, and its answer lost.
    LoseEvery(usize),
    /// Watches are answered so.
    Watches(u16),
    /// Nothing is passed on until the next fault is set.
    Hold,
    /// Reads whose path ends so are passed on, and their answers kept until the next
    /// fault is set.
    HoldAnswers(String),
}

pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    server: String,
    http: reqwest::Client,
    fault: watch::Sender<Fault>,
    calls: AtomicUsize,
    writes: AtomicUsize,
    silent: Notify,
    /// Answers kept back.
    held: AtomicUsize,
    /// Deletions that watches told of.
    deletions: AtomicUsize,
    /// Ends all watches when it changes.
    era: watch::Sender<u64>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub async fn start(access: &Access) -> Result<Self> {
        let authority = access.authority()?;
        let certificate = reqwest::Certificate::from_pem(authority.certificate().as_bytes())?;
        let shared = Arc::new(Shared {
            server: access.url.clone(),
            http: reqwest::Client::builder()
                .tls_certs_only([certificate])
                .build()?,
            fault: watch::Sender::new(Fault::None),
            calls: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            silent: Notify::new(),
            held: AtomicUsize::new(0),
            deletions: AtomicUsize::new(0),
            era: watch::Sender::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(pass).with_state(shared.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                panic!("the proxy ended: {error}");
            }
        });
        Ok(Self { url, shared, task })
    }

    /// The same user as in this file, through the proxy.
    pub fn kubeconfig(&self, direct: &Path) -> Result<PathBuf> {
        let mut config: Value = serde_saphyr::from_str(&std::fs::read_to_string(direct)?)?;
        let cluster = config["clusters"][0]
            .get_mut("cluster")
            .context("no cluster")?;
        *cluster = json!({"server": self.url});
        let file = direct.with_extension(format!("proxy-{:08x}", rand::random::<u32>()));
        std::fs::write(&file, config.to_string())?;
        Ok(file)
    }

    pub fn set(&self, fault: Fault) {
        self.shared.writes.store(0, Ordering::SeqCst);
        self.shared.fault.send_replace(fault);
    }

    /// Writes since the last [`Self::set`], those of the Lease not counted.
    pub fn writes(&self) -> usize {
        self.shared.writes.load(Ordering::SeqCst)
    }

    /// Waits until nothing goes through any more.
    pub async fn silence(&self) {
        self.shared.silent.notified().await;
    }

    /// Answers that were kept back.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// How often watches told that an object was deleted.
    pub fn deletions(&self) -> usize {
        self.shared.deletions.load(Ordering::SeqCst)
    }

    /// Breaks off every watch.
    pub fn drop_watches(&self) {
        self.shared.era.send_modify(|era| *era += 1);
    }
}

impl Shared {
    /// Waits until another fault is set.
    async fn after(&self, fault: &Fault) -> Result<()> {
        let mut faults = self.fault.subscribe();
        faults.wait_for(|it| it != fault).await?;
        Ok(())
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match answer(&shared, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn answer(shared: &Arc<Shared>, request: Request) -> Result<Response> {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |it| it.as_str())
        .to_owned();
    let is_watch = path.contains("watch=true");
    let is_lease = path.contains("/leases");
    let is_write = !is_lease && request.method() != Method::GET;
    let fault = shared.fault.borrow().clone();
    let call = if is_watch || is_lease {
        0
    } else {
        shared.calls.fetch_add(1, Ordering::SeqCst) + 1
    };
    let write = if is_write {
        shared.writes.fetch_add(1, Ordering::SeqCst) + 1
    } else {
        0
    };
    match fault {
        Fault::SilenceFromWrite(last) if shared.writes.load(Ordering::SeqCst) > last => {
            return std::future::pending().await;
        }
        Fault::Every(n, status) if call > 0 && call.is_multiple_of(n) => return refuse(status),
        Fault::Watches(status) if is_watch => return refuse(status),
        Fault::Hold => shared.after(&fault).await?,
        _ => {}
    }
    let response = forward(shared, &path, request).await?;
    match fault {
        Fault::SilenceFromWrite(last) if write == last => {
            shared.silent.notify_one();
            std::future::pending().await
        }
        Fault::HoldAnswers(ref end) if !is_write && path.ends_with(end) => {
            shared.held.fetch_add(1, Ordering::SeqCst);
            shared.after(&fault).await?;
            Ok(response)
        }
        Fault::LoseEvery(n) if call > 0 && call.is_multiple_of(n) => refuse(504),
        _ => Ok(response),
    }
}

async fn forward(shared: &Arc<Shared>, path: &str, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await?;
    let mut headers = parts.headers;
    headers.remove(header::HOST);
    let answer = shared
        .http
        .request(parts.method, format!("{}{path}", shared.server))
        .headers(headers)
        .body(body)
        .send()
        .await?;
    let mut response = Response::builder().status(answer.status());
    if let Some(kind) = answer.headers().get(header::CONTENT_TYPE) {
        response = response.header(header::CONTENT_TYPE, kind);
    }
    let era = shared.era.subscribe();
    let state = (answer, era, shared.clone());
    let body = stream::unfold(state, |(mut answer, mut era, shared)| async move {
        let chunk: Option<Result<Bytes, std::io::Error>> = tokio::select! {
            _ = era.changed() => None,
            chunk = answer.chunk() => chunk.map_err(std::io::Error::other).transpose(),
        };
        let deleted = b"\"type\":\"DELETED\"";
        if let Some(Ok(bytes)) = &chunk {
            let told = bytes.windows(deleted.len()).filter(|it| *it == deleted);
            shared.deletions.fetch_add(told.count(), Ordering::SeqCst);
        }
        Some((chunk?, (answer, era, shared)))
    });
    Ok(response.body(Body::from_stream(body))?)
}

fn refuse(code: u16) -> Result<Response> {
    let reason = match code {
        410 => "Expired",
        429 => "TooManyRequests",
        504 => "Timeout",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": "injected by the test", "reason": reason, "code": code,
    });
    Ok(Response::builder()
        .status(code)
        .header(header::CONTENT_TYPE, "application/json")
        .body(status.to_string().into())?)
}
