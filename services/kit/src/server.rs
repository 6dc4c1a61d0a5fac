//! A running service: its parts, its HTTP servers, and an orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chat_events::{Code, Event, Service, limits};
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

use crate::broker::{Broker, PodEvent, Publisher};
use crate::config::{BrokerArgs, HttpArgs, PgArgs};
use crate::health::Readiness;
use crate::identity::Identity;
use crate::telemetry::{self, Telemetry};
use crate::{Problem, metrics as names, pg, planted, trace};

mod connections;
mod same_site;

pub use same_site::{has_origin_of, is_same_site};

/// A request that takes longer is answered with 504.
const REQUEST: Duration = Duration::from_secs(30);
/// When requests and sockets have ended, publishers and consumers get this long.
const LAST: Duration = Duration::from_secs(4);

/// So long a new process refuses connections while a part is missing. Then it answers
/// what can be answered without: history does not need the broker.
const STARTING: Duration = Duration::from_secs(10);
/// Connections that nobody has taken yet; the kernel may allow fewer.
const BACKLOG: u32 = 1024;

/// What all services are made of. Build the parts, then call [`Process::serve`].
pub struct Process {
    pub service: Service,
    pub http: HttpArgs,
    pub readiness: Readiness,
    /// Cancelled on SIGTERM: stop taking work.
    pub stop: CancellationToken,
    /// Cancelled when the last request and the last socket have ended:
    /// publishers may go.
    finish: CancellationToken,
    sockets: TaskTracker,
    tasks: TaskTracker,
    telemetry: Telemetry,
    prometheus: PrometheusHandle,
}

impl Process {
    pub fn start(service: Service, http: &HttpArgs) -> anyhow::Result<Self> {
        // Fails only when a provider is installed already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let stop = CancellationToken::new();
        let process = Self {
            service,
            http: http.clone(),
            readiness: Readiness::default(),
            stop: stop.clone(),
            finish: CancellationToken::new(),
            sockets: TaskTracker::new(),
            tasks: TaskTracker::new(),
            telemetry: telemetry::start(service.name(), http)?,
            prometheus: names::start()?,
        };
        planted::announce()?;
        let mut terminate = signal(SignalKind::terminate())?;
        process.tasks.spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
                () = stop.cancelled() => {}
            }
            tracing::info!("stopping");
            stop.cancel();
        });
        Ok(process)
    }

    /// Runs a task that ends soon after `stop`.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// For tasks that come and go, such as sockets: publishers stay until they
    /// have ended.
    pub fn tasks(&self) -> TaskTracker {
        self.sockets.clone()
    }

    /// Cancelled when the last request and the last socket have ended.
    pub fn finish(&self) -> CancellationToken {
        self.finish.clone()
    }

    /// The database, watched for readiness.
    pub fn database(
        &self,
        args: &PgArgs,
        settings: &pg::Settings,
        migrator: &'static Migrator,
    ) -> PgPool {
        let pool = pg::pool(args, settings);
        self.spawn(pg::watch(
            pool.clone(),
            migrator,
            self.readiness.part("database"),
            self.stop.clone(),
        ));
        pool
    }

    /// Publishes until the last request has ended.
    pub fn publisher(&self, args: &BrokerArgs) -> Publisher {
        let name = format!("{} {} publishes", self.service.name(), self.http.pod_name);
        let broker = Broker::new(args, name, self.readiness.part_to_start("broker.publish"));
        let (publisher, work) = Publisher::new(broker, self.finish.clone());
        self.spawn(work);
        publisher
    }

    /// The connection for consumers.
    pub fn consumers(&self, args: &BrokerArgs) -> Broker {
        let name = format!("{} {} consumes", self.service.name(), self.http.pod_name);
        Broker::new(args, name, self.readiness.part_to_start("broker.consume"))
    }

    /// The check of tokens, kept current from auth.
    pub fn identity(&self, auth_url: &str) -> Identity {
        let identity = Identity::new(&self.http.cluster, self.http.secure_cookies());
        self.spawn(identity.clone().follow(
            auth_url.trim_end_matches('/').to_owned(),
            self.readiness.part("auth"),
            self.stop.clone(),
        ));
        identity
    }

    /// Hears of ended sessions at once, for a service whose pods need no other event.
    pub fn follow_revocations(&self, consumers: Broker, identity: Identity) {
        let (service, pod) = (self.service, self.http.pod_name.clone());
        let (stop, ready) = (
            self.stop.clone(),
            self.readiness.part_to_start("revocations"),
        );
        self.spawn(async move {
            consumers
                .consume_pod_queue(service, &pod, &stop, |event| {
                    match event {
                        PodEvent::Events(events) => {
                            for recorded in events.iter() {
                                if let Event::SessionRevoked(revoked) = &recorded.event {
                                    identity.revoke(revoked);
                                }
                            }
                        }
                        PodEvent::Subscribed => {
                            identity.refresh_soon();
                            ready.set(true);
                        }
                        PodEvent::Lost => ready.set(false),
                    }
                    std::future::ready(())
                })
                .await;
        });
    }

    /// Serves from the moment when every part is ready, or 10 s after the start with what
    /// there is, until SIGTERM; then ends everything in order.
    pub async fn serve(self, router: Router, openapi: OpenApi) -> anyhow::Result<()> {
        let admin = self.claim(self.http.admin_port)?.listen(BACKLOG)?;
        let public = self.claim(self.http.port)?;
        let admin_stop = CancellationToken::new();
        let listens = Arc::new(AtomicBool::new(false));
        self.tasks.spawn(connections::serve(
            admin,
            "admin",
            self.admin_router(listens.clone()),
            limits::HANDSHAKE,
            admin_stop.clone(),
        ));
        // Who comes before is refused, and may go to another pod.
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.readiness.all() => {}
            () = tokio::time::sleep(STARTING) => {}
        }
        let port = self.http.port;
        let public = public.listen(BACKLOG);
        let public = public.with_context(|| format!("cannot listen on port {port}"))?;
        listens.store(true, Ordering::Release);
        tracing::info!(address = %public.local_addr()?, "listening");
        let server = connections::serve(
            public,
            "public",
            self.public_router(router, openapi),
            limits::HANDSHAKE,
            self.stop.clone(),
        );
        let deadline = async {
            self.stop.cancelled().await;
            tokio::time::sleep(self.http.drain()).await;
        };
        let served = async {
            server.await;
            self.sockets.close();
            self.sockets.wait().await;
        };
        tokio::select! {
            () = served => {}
            () = deadline => tracing::warn!("ending with requests or sockets still open"),
        }
        self.stop.cancel();
        self.finish.cancel();
        admin_stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(LAST, self.tasks.wait()).await.is_err() {
            tracing::warn!("ending with work still under way");
        }
        self.telemetry.shutdown().await;
        Ok(())
    }

    /// A port that is in use is known at once, and nobody is heard yet.
    fn claim(&self, port: u16) -> anyhow::Result<TcpSocket> {
        let address = SocketAddr::new(self.http.host, port);
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_reuseaddr(true)?;
        let claimed = socket.bind(address);
        claimed.with_context(|| format!("cannot listen on {address}"))?;
        Ok(socket)
    }

    fn admin_router(&self, listens: Arc<AtomicBool>) -> Router {
        let (readiness, stop) = (self.readiness.clone(), self.stop.clone());
        let prometheus = self.prometheus.clone();
        // Whether everything is there, or enough for requests; and what is not.
        let look = move |for_requests: bool| {
            let mut parts = readiness.report();
            let runs = listens.load(Ordering::Acquire) && !stop.is_cancelled();
            parts.insert("running", runs);
            let ready = match for_requests {
                true => runs && readiness.takes_requests(),
                false => parts.values().all(|ready| *ready),
            };
            let status = match ready {
                true => StatusCode::OK,
                false => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, Json(parts))
        };
        let all = look.clone();
        Router::new()
            .route("/livez", get(|| async { "ok" }))
            .route("/readyz", get(async move || all(false)))
            .route("/readyz/requests", get(async move || look(true)))
            .route("/metrics", get(async move || prometheus.render()))
    }

    fn public_router(&self, router: Router, openapi: OpenApi) -> Router {
        let base = format!("/api/{}", self.service.name());
        let docs =
            SwaggerUi::new(format!("{base}/docs")).url(format!("{base}/openapi.json"), openapi);
        let origins: Arc<[String]> = self.http.public_origins.clone().into();
        router
            .merge(docs)
            .fallback(async || Problem::not_found())
            .method_not_allowed_fallback(async || Problem::from(Code::MethodNotAllowed))
            .layer(DefaultBodyLimit::max(limits::BODY))
            .layer(middleware::from_fn(time_limit))
            .layer(middleware::from_fn_with_state(
                origins,
                same_site::same_site,
            ))
            .layer(CatchPanicLayer::custom(|_| {
                Problem::internal(anyhow::anyhow!("a handler panicked")).into_response()
            }))
            .layer(middleware::from_fn(observe))
    }
}

async fn time_limit(request: Request, next: Next) -> Response {
    tokio::time::timeout(REQUEST, next.run(request))
        .await
        .unwrap_or_else(|_| Problem::from(Code::Timeout).into_response())
}

/// Trace, log line, metrics and the headers that every answer has.
async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    let traceparent = trace::accept(
        request
            .headers()
            .get("traceparent")
            .and_then(|value| value.to_str().ok()),
    );
    let trace_id = trace::id(&traceparent).unwrap_or_default().to_owned();
    let span =
        tracing::info_span!("request", trace_id = tracing::field::Empty, method = %method, route);
    let mut response = trace::within(traceparent, span, async move {
        let response = next.run(request).await;
        tracing::debug!(status = response.status().as_u16(), "answered");
        response
    })
    .await;
    let status = response.status().as_u16().to_string();
    let labels = [("method", method.to_string()), ("route", route)];
    metrics::histogram!(names::HTTP_SECONDS, &labels).record(started.elapsed());
    metrics::counter!(names::HTTP_REQUESTS, "method" => labels[0].1.clone(), "route" => labels[1].1.clone(), "status" => status)
        .increment(1);
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&trace_id) {
        headers.insert("x-request-id", id);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
