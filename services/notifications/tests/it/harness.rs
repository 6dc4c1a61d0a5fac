//! One running service, the people who use it, and the others on the broker.

use std::process::Stdio;
use std::time::Duration;

use chat_events::{
    ClientId, ConversationId, Event, LogEvent, MessageId, MessageView, Recorded, Service,
    SessionRevoked, UserId, UserRef, UserSeen,
};
use chat_kit::broker::{Broker, Publisher};
use chat_kit::config::{BrokerArgs, RedisArgs};
use chat_kit::health::Readiness;
use chat_kit::presence::Leases;
use chat_local::testing::{TestCluster, cluster};
use futures::{SinkExt, StreamExt};
use jiff::Timestamp;
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgPool};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;

pub use chat_e2e::{SignedIn as Person, StandInAuth as Auth};

pub const ORIGIN: &str = "http://localhost:8080";
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Stack {
    pub auth: Auth,
    pub http: reqwest::Client,
    pub database: PgPool,
    pub port: u16,
    pub admin_port: u16,
    pub child: Child,
    publisher: Publisher,
    stop: CancellationToken,
    /// Last: what the others use goes after them.
    pub cluster: TestCluster,
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Stack {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_on(cluster().await, settings).await
    }

    /// Also on a database that is not empty.
    pub async fn start_on(cluster: TestCluster, settings: &[(&str, &str)]) -> Self {
        let auth = Auth::start(&cluster.name).await;
        let migrated = command(&cluster, &auth, "migrate")
            .status()
            .await
            .expect("migrate runs");
        assert!(migrated.success());
        let [port, admin_port] = [(); 2].map(|()| chat_local::ports::free().expect("a port"));
        let child = command(&cluster, &auth, "serve")
            .env("PORT", port.to_string())
            .env("ADMIN_PORT", admin_port.to_string())
            .envs(settings.iter().copied())
            .spawn()
            .expect("serve runs");
        let stop = CancellationToken::new();
        let stack = Self {
            publisher: publisher(&cluster, stop.clone()),
            database: database(&cluster),
            http: reqwest::Client::new(),
            auth,
            port,
            admin_port,
            child,
            stop,
            cluster,
        };
        until("the service is ready", async || {
            let url = format!("http://127.0.0.1:{admin_port}/readyz");
            let answer = stack.http.get(url).send().await.ok()?;
            (answer.status() == StatusCode::OK).then_some(())
        })
        .await;
        stack
    }

    /// The service's own command with the same settings.
    pub fn command(&self, subcommand: &str) -> Command {
        command(&self.cluster, &self.auth, subcommand)
    }

    /// Somebody with an account and a session.
    pub async fn person(&self, username: &str) -> Person {
        let person = self.auth.person(username);
        self.publish(Event::UserRegistered(UserRef {
            user_id: person.id,
            username: username.to_owned(),
            display_name: display_name(username),
            version: 1,
        }))
        .await;
        until("the name is known", async || {
            let known: Option<bool> =
                sqlx::query_scalar("select version > 0 from people where user_id = $1")
                    .bind(person.id.0)
                    .fetch_optional(&self.database)
                    .await
                    .expect("a query");
            known.filter(|known| *known)
        })
        .await;
        person
    }

    pub async fn publish(&self, event: Event) {
        self.publish_as_is(Recorded::new(event, None)).await;
    }

    pub async fn publish_as_is(&self, recorded: Recorded) {
        timeout(DEADLINE, self.publisher.publish(recorded))
            .await
            .expect("the broker answers")
            .expect("the event is on the broker");
    }

    pub async fn publish_all(&self, events: Vec<Recorded>) {
        timeout(DEADLINE, self.publisher.publish_all(events))
            .await
            .expect("the broker answers")
            .expect("the events are on the broker");
    }

    pub fn get(&self, path: &str, person: &Person) -> reqwest::RequestBuilder {
        self.request(Method::GET, path).bearer_auth(&person.token)
    }

    /// A request as from a page of ours, without a session.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        self.http.request(method, url).header("origin", ORIGIN)
    }

    pub async fn list(&self, person: &Person) -> Value {
        let answer = self.get("/api/notifications", person).send().await;
        json(answer.expect("an answer"), StatusCode::OK).await
    }

    /// Polls the list until it has so many unread notices.
    pub async fn unread(&self, person: &Person, unread: i64) -> Value {
        until("the number of unread notices", async || {
            let list = self.list(person).await;
            (list["unread"] == unread).then_some(list)
        })
        .await
    }

    pub async fn post_read(&self, person: &Person, body: Value) -> Response {
        self.request(Method::POST, "/api/notifications/read")
            .bearer_auth(&person.token)
            .json(&body)
            .send()
            .await
            .expect("an answer")
    }

    pub async fn delete(&self, person: &Person, id: &str) -> Response {
        self.request(Method::DELETE, &format!("/api/notifications/{id}"))
            .bearer_auth(&person.token)
            .send()
            .await
            .expect("an answer")
    }

    pub fn upgrade(&self, token: Option<&str>) -> Request {
        let mut request = format!("ws://127.0.0.1:{}/ws/notifications/join", self.port)
            .into_client_request()
            .expect("a request");
        let headers = request.headers_mut();
        headers.insert("origin", ORIGIN.parse().expect("a header"));
        if let Some(token) = token {
            let cookie = format!("auth={token}").parse().expect("a header");
            headers.insert("cookie", cookie);
        }
        request
    }

    /// A socket that has had its hello, and the hello.
    pub async fn join(&self, person: Option<&Person>) -> (Socket, Value) {
        let request = self.upgrade(person.map(|person| person.token.as_str()));
        let mut socket = Socket::open(request).await.expect("an open socket");
        let hello = socket.next().await;
        assert_eq!(hello["type"], "hello");
        (socket, hello)
    }

    /// The value of the first metric whose line begins so.
    pub async fn metric(&self, begin: &str) -> Option<u64> {
        let url = format!("http://127.0.0.1:{}/metrics", self.admin_port);
        let text = self.http.get(url).send().await.ok()?.text().await.ok()?;
        let line = text.lines().find(|line| line.starts_with(begin))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// All rows that a request could write.
    pub async fn rows(&self) -> i64 {
        sqlx::query_scalar(
            "select (select count(*) from message_notices) + (select count(*) from exceptions)
                  + (select count(*) from audiences) + (select count(*) from read_marks) + (select count(*) from people) + (select count(*) from outbox)",
        )
        .fetch_one(&self.database)
        .await
        .expect("a count")
    }

    /// Whether a live pod says that it holds a socket of the person, as users sees it.
    pub async fn is_online(&self, person: &Person) -> bool {
        let env = self.cluster.env(Service::Users);
        let args = RedisArgs {
            redis_host: variable(&env, "REDIS_HOST"),
            redis_user: variable(&env, "REDIS_USER"),
            redis_password: variable(&env, "REDIS_PASSWORD").into(),
        };
        let leases = Leases::new(&args, &self.cluster.name).expect("leases");
        let online = leases.online().await.expect("Redis");
        online.contains(&person.id)
    }
}

fn command(cluster: &TestCluster, auth: &Auth, subcommand: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_notifications"));
    command
        .arg(subcommand)
        .env_clear()
        .envs(cluster.env(Service::Notifications))
        .env("HOST", "127.0.0.1")
        .env("AUTH_URL", &auth.url)
        .env("PUBLIC_ORIGINS", ORIGIN)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

fn variable(env: &[(String, String)], name: &str) -> String {
    env.iter()
        .find_map(|(key, value)| (key == name).then(|| value.clone()))
        .unwrap_or_default()
}

/// Publishes what auth, users and messages would.
fn publisher(cluster: &TestCluster, stop: CancellationToken) -> Publisher {
    let env = cluster.env(Service::Messages);
    let args = BrokerArgs {
        rmq_host: variable(&env, "RMQ_HOST"),
        rmq_port: variable(&env, "RMQ_PORT").parse().expect("a port"),
        rmq_vhost: variable(&env, "RMQ_VHOST"),
        rmq_user: variable(&env, "RMQ_USER"),
        rmq_password: variable(&env, "RMQ_PASSWORD").into(),
    };
    let broker = Broker::new(&args, "tests".into(), Readiness::default().part("broker"));
    let (publisher, work) = Publisher::new(broker, stop);
    tokio::spawn(work);
    publisher
}

pub fn database(cluster: &TestCluster) -> PgPool {
    let env = cluster.env(Service::Notifications);
    let options = PgConnectOptions::new()
        .host(&variable(&env, "DB_HOST"))
        .port(variable(&env, "DB_PORT").parse().expect("a port"))
        .username(&variable(&env, "DB_USER"))
        .password(&variable(&env, "DB_PASSWORD"))
        .database(&variable(&env, "DB_NAME"));
    PgPool::connect_lazy_with(options)
}

pub struct Socket {
    pub stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    /// The status of a refusal is the error.
    pub async fn open(request: Request) -> Result<Self, u16> {
        match timeout(DEADLINE, connect_async(request)).await {
            Ok(Ok((stream, _))) => Ok(Self { stream }),
            Ok(Err(tungstenite::Error::Http(answer))) => Err(answer.status().as_u16()),
            other => panic!("no answer to the upgrade: {other:?}"),
        }
    }

    /// The next frame but heartbeats.
    pub async fn next(&mut self) -> Value {
        loop {
            let frame = self.next_of_any_type().await;
            if frame["type"] != "heartbeat" {
                return frame;
            }
        }
    }

    pub async fn next_of_any_type(&mut self) -> Value {
        loop {
            match self.receive().await {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text).expect("JSON");
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no frame but {other:?}"),
            }
        }
    }

    async fn receive(&mut self) -> Option<Result<Message, tungstenite::Error>> {
        timeout(DEADLINE, self.stream.next())
            .await
            .expect("something within the deadline")
    }

    /// The frames up to the first of the type.
    pub async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await;
            let found = frame["type"] == kind;
            frames.push(frame);
            if found {
                return frames;
            }
        }
    }

    /// The count of the next `unread`. A notice that was on its way at the
    /// hello may come before it.
    pub async fn unread(&mut self) -> i64 {
        let frames = self.until("unread").await;
        let count = frames.last().and_then(|frame| frame["unread"].as_i64());
        count.expect("a count")
    }

    pub async fn send(&mut self, message: Message) {
        self.stream.send(message).await.expect("a sent frame");
    }

    /// The close code, whatever comes before.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self.receive().await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(Message::Close(None))) | Some(Err(_)) | None => {
                    panic!("closed without a code")
                }
                Some(Ok(_)) => {}
            }
        }
    }
}

/// Asks again and again until there is an answer.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The body of an answer that must have the status.
pub async fn json(answer: Response, status: StatusCode) -> Value {
    let given = answer.status();
    let body = answer.text().await.expect("a body");
    assert_eq!(given, status, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

pub fn display_name(username: &str) -> String {
    format!("{username} of the tests")
}

pub fn message(conversation: ConversationId, seq: i64, sender: &Person, text: &str) -> MessageView {
    MessageView {
        id: MessageId::generate(),
        conversation_id: conversation,
        seq,
        sender_id: sender.id,
        client_id: ClientId::generate(),
        content: text.to_owned(),
        created_at: Timestamp::now(),
    }
}

pub fn stored(members: &[&Person], message: &MessageView) -> Event {
    Event::MessageStored {
        members: members.iter().map(|person| person.id).collect(),
        entry: LogEvent::Message {
            conversation_id: message.conversation_id,
            seq: message.seq,
            message: message.clone(),
        },
    }
}

/// `reader` has read the conversation up to `up_to`.
pub fn read(
    members: &[&Person],
    conversation_id: ConversationId,
    reader: &Person,
    up_to: i64,
) -> Event {
    Event::MessageStored {
        members: members.iter().map(|person| person.id).collect(),
        entry: LogEvent::Read {
            conversation_id,
            seq: up_to + 1,
            user_id: reader.id,
            up_to,
            at: Timestamp::now(),
        },
    }
}

pub fn seen(person: &Person) -> UserSeen {
    UserSeen {
        user_id: person.id,
        username: person.username.clone(),
        display_name: display_name(&person.username),
    }
}

pub fn revoked(person: &Person) -> Event {
    Event::SessionRevoked(SessionRevoked {
        user_id: person.id,
        session_id: person.session,
        until: Timestamp::now() + Duration::from_secs(600),
    })
}

/// The ids of a list of notices.
pub fn ids(list: &Value) -> Vec<String> {
    let notices = list["notices"].as_array().expect("a list");
    notices
        .iter()
        .map(|notice| notice["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// The one whom a frame of people tells of.
pub fn user(frame: &Value) -> Option<UserId> {
    let [user] = frame["users"].as_array()?.as_slice() else {
        return None;
    };
    user["id"].as_str()?.parse().ok()
}
