//! A cluster of the test's own with replicas of messages, and verbs to use them.

mod auth;
mod heard;
mod replica;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use chat_events::{
    ClientId, ConversationId, Event, LogEvent, MessageSent, ReadRequested, Recorded, Service,
    UserId, UserRef,
};
use chat_kit::broker::{Broker, Publisher};
use chat_kit::config::BrokerArgs;
use chat_kit::health::Readiness;
use chat_local::testing::{self, TestCluster};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

pub use self::auth::Auth;
pub use self::heard::Heard;
pub use self::replica::Replica;

pub const ORIGIN: &str = "http://localhost:8080";
/// What a test waits for takes longer only when it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none in a minute.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
    }
}

pub struct Stage {
    pub cluster: TestCluster,
    pub auth: Auth,
    pub publisher: Publisher,
    /// What a pod of socket-handler hears.
    pub heard: Heard,
    /// The database of messages.
    pub pool: PgPool,
    http: reqwest::Client,
    stop: CancellationToken,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[derive(Clone)]
pub struct Person {
    pub id: UserId,
    pub token: String,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub content_type: String,
    pub body: Value,
}

impl Answer {
    pub fn assert(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    /// A problem of that status and code.
    pub fn assert_problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.content_type, "application/problem+json");
        assert_eq!(self.body["code"], code, "{}", self.body);
        self.assert(status)
    }
}

impl Stage {
    pub async fn new() -> Self {
        Self::of(testing::cluster().await).await
    }

    pub async fn of(cluster: TestCluster) -> Self {
        let auth = Auth::start(&cluster.name).await;
        let stop = CancellationToken::new();
        let args = broker_args(&cluster, Service::SocketHandler);
        let broker =
            |name: &str| Broker::new(&args, name.into(), Readiness::default().part("broker"));
        let (publisher, work) = Publisher::new(broker("test publishes"), stop.clone());
        tokio::spawn(work);
        let heard = Heard::listen(broker("test listens"), stop.clone()).await;
        let pool = PgPool::connect_with(cluster.stores.postgres(&cluster.role(Service::Messages)))
            .await
            .expect("the database of messages");
        let http = reqwest::Client::new();
        let stage = Self {
            cluster,
            auth,
            publisher,
            heard,
            pool,
            http,
            stop,
        };
        let migrated = stage.run(&["migrate"]).await;
        assert!(migrated.status.success(), "{migrated:?}");
        stage
    }

    /// A stage with one replica.
    pub async fn with_replica() -> (Self, Replica) {
        let stage = Self::new().await;
        let replica = stage.replica("one").await;
        (stage, replica)
    }

    /// Starts a replica and waits until it is ready.
    pub async fn replica(&self, pod: &str) -> Replica {
        let replica = self.start(pod);
        replica.ready().await;
        replica
    }

    pub fn start(&self, pod: &str) -> Replica {
        Replica::start(&self.cluster, &self.auth.url, pod)
    }

    /// Runs another subcommand to its end.
    pub async fn run(&self, arguments: &[&str]) -> std::process::Output {
        replica::command(&self.cluster)
            .args(arguments)
            .output()
            .await
            .expect("the binary runs")
    }

    /// Somebody whom messages knows.
    pub async fn person(&self, name: &str) -> Person {
        let id = UserId::generate();
        let registered = UserRef {
            user_id: id,
            username: name.into(),
            display_name: format!("{name} the tester"),
            version: 1,
        };
        self.publish(Event::UserRegistered(registered)).await;
        until("the person is known", async || {
            sqlx::query_scalar::<_, bool>("select true from people where user_id = $1")
                .bind(id.0)
                .fetch_optional(&self.pool)
                .await
                .expect("a query")
        })
        .await;
        self.guest(id, name)
    }

    /// Somebody with a token, of whom messages has not heard.
    pub fn guest(&self, id: UserId, name: &str) -> Person {
        Person {
            id,
            token: self.auth.token(id, name),
        }
    }

    /// Two people and their conversation.
    pub async fn pair(&self, replica: &Replica) -> (Person, Person, ConversationId) {
        let (anna, ben) = (self.person("anna").await, self.person("ben").await);
        let conversation = self.open(replica, &anna, &ben).await;
        (anna, ben, conversation)
    }

    pub async fn open(&self, replica: &Replica, from: &Person, with: &Person) -> ConversationId {
        let body = json!({ "user_id": with.id });
        let answer = self.post(replica, from, "/api/conversations", &body).await;
        assert!(answer.status.is_success(), "{answer:?}");
        id_of(&answer.body)
    }

    pub async fn publish(&self, event: Event) {
        self.publisher
            .publish(Recorded::new(event, None))
            .await
            .expect("the broker takes the event");
    }

    /// Hands a message to the broker as socket-handler does.
    pub async fn send(&self, to: ConversationId, from: &Person, content: &str) -> ClientId {
        let client_id = ClientId::generate();
        self.send_as(to, from, content, client_id).await;
        client_id
    }

    pub async fn send_as(
        &self,
        to: ConversationId,
        from: &Person,
        content: &str,
        client_id: ClientId,
    ) {
        self.publish(Event::MessageSent(MessageSent {
            conversation_id: to,
            sender_id: from.id,
            client_id,
            content: content.into(),
        }))
        .await;
    }

    /// Sends and waits for `message.stored`; returns its place.
    pub async fn say(&self, to: ConversationId, from: &Person, content: &str) -> i64 {
        let client_id = self.send(to, from, content).await;
        self.heard.stored(client_id).await.seq
    }

    pub async fn read(&self, conversation_id: ConversationId, reader: &Person, up_to: i64) {
        self.publish(Event::MessageRead(ReadRequested {
            conversation_id,
            user_id: reader.id,
            up_to,
        }))
        .await;
    }

    pub async fn get(&self, replica: &Replica, person: &Person, path: &str) -> Answer {
        self.ask(replica, Method::GET, path, |request| {
            request.bearer_auth(&person.token)
        })
        .await
    }

    pub async fn post(
        &self,
        replica: &Replica,
        person: &Person,
        path: &str,
        body: &Value,
    ) -> Answer {
        self.ask(replica, Method::POST, path, |request| {
            request
                .bearer_auth(&person.token)
                .header("origin", ORIGIN)
                .json(body)
        })
        .await
    }

    pub async fn ask(
        &self,
        replica: &Replica,
        method: Method,
        path: &str,
        complete: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Answer {
        let request = self.http.request(method, replica.url(path));
        let response = complete(request).send().await.expect("an answer");
        let status = response.status();
        let content_type = response
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let text = response.text().await.expect("a body");
        Answer {
            status,
            content_type,
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        }
    }

    /// The whole log over HTTP, page by page.
    pub async fn log(
        &self,
        replica: &Replica,
        reader: &Person,
        conversation: ConversationId,
    ) -> Vec<LogEvent> {
        let mut log: Vec<LogEvent> = Vec::new();
        loop {
            let after = log.last().map_or(0, LogEvent::seq);
            let path = format!("/api/messages/events?conversation={conversation}&after={after}");
            let page = self.get(replica, reader, &path).await.assert(200);
            let events: Vec<LogEvent> =
                serde_json::from_value(page["events"].clone()).expect("events");
            log.extend(events);
            if page["complete"] == true {
                return log;
            }
        }
    }

    pub async fn begin(&self) -> sqlx::Transaction<'static, sqlx::Postgres> {
        self.pool.begin().await.expect("a transaction")
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&self.pool)
            .await
            .expect("a number")
    }
}

pub fn id_of(conversation: &Value) -> ConversationId {
    serde_json::from_value(conversation["id"].clone()).expect("an id")
}

pub fn broker_args(cluster: &TestCluster, service: Service) -> BrokerArgs {
    BrokerArgs {
        rmq_host: "127.0.0.1".into(),
        rmq_port: cluster.stores.rabbitmq_port,
        rmq_vhost: cluster.name.clone(),
        rmq_user: cluster.role(service),
        rmq_password: cluster.password(service).into(),
    }
}

/// Where a process of the test writes its log.
fn log_file(cluster: &str, pod: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{cluster}-{pod}.log"))
}
