//! A namespace of a real cluster, with the operator beside it and one chat inside.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_cluster::Cluster;
use chat_cluster::testing::enter_cluster;
use chat_e2e::{Backstage, ChatSocket, Person, Site, await_until};
use chat_events::{ConversationId, Service, rights};
use chat_images::Store;
use chat_operator::crd::ChatCluster;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

/// As the charts are documented to be installed.
pub const SYSTEM: &str = "chat-system";
/// Until something that takes images, volumes and rollouts is done.
pub const PATIENCE: Duration = Duration::from_secs(300);
const NAME: &str = "demo";

/// Runs a test inside the network of the shared cluster, where nothing leads out.
pub fn in_cluster(test: impl AsyncFnOnce(Cluster) -> Result<()>) -> Result<()> {
    // Before there is a second thread.
    let cluster = enter_cluster();
    tokio::runtime::Runtime::new()?.block_on(async {
        install(&cluster).await?;
        Box::pin(test(cluster)).await
    })
}

/// Both charts, as the README says; the stores of chats are the distribution's.
pub async fn install(cluster: &Cluster) -> Result<String> {
    let chart = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts");
        path.join(name).display().to_string()
    };
    let namespace = ["--namespace", SYSTEM, "--create-namespace", "--wait"];
    let verb = ["upgrade", "--install"];
    let definition = chart("chat-operator-crds");
    let operator = chart("chat-operator");
    cluster
        .helm(&[&verb[..], &["chat-operator-crds", &definition], &namespace].concat())
        .await?;
    let stores = store_images();
    cluster
        .helm(
            &[
                &verb[..],
                &["chat-operator", &operator, "--set", &stores],
                &namespace,
            ]
            .concat(),
        )
        .await
}

/// What tells the chart of the operator which stores it can have here.
pub fn store_images() -> String {
    [
        ("postgresImage", Store::POSTGRES.image),
        ("rabbitmqImage", Store::RABBITMQ.image),
        ("redisImage", Store::REDIS.image),
    ]
    .map(|(key, image)| format!("chats.{key}={image}"))
    .join(",")
}

/// One chat in a namespace of its own.
pub struct ClusterChat {
    pub cluster: Cluster,
    pub client: Client,
    pub namespace: String,
    name: String,
    pub site: Site,
}

/// A service's login in all stores of a chat.
pub struct Login {
    user: String,
    password: String,
}

impl ClusterChat {
    /// A fresh namespace in which the restricted profile is enforced, for a chat that
    /// will be reached as `<namespace>.localhost`.
    pub async fn prepare(cluster: Cluster, namespace: &str) -> Result<Self> {
        let client = cluster.client().await?;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        // Of a test that came to no end.
        remove(&client, namespace).await?;
        let enforced = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let made = serde_json::from_value(json!({
            "metadata": {"name": namespace, "labels": enforced},
        }))?;
        namespaces.create(&Default::default(), &made).await?;
        let site = site(&cluster, namespace);
        Ok(Self {
            cluster,
            client,
            namespace: namespace.to_owned(),
            name: NAME.to_owned(),
            site,
        })
    }

    /// A place for another chat in the same namespace.
    pub async fn beside(&self, name: &str) -> Result<Self> {
        Ok(Self {
            cluster: self.cluster.clone(),
            client: self.client.clone(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            site: site(&self.cluster, name),
        })
    }

    /// The same place, reached by another name.
    #[must_use]
    pub fn named(self, host: &str) -> Self {
        let address = SocketAddr::from((self.cluster.address, 80));
        let site = Site::new(&format!("http://{host}")).at(address);
        Self { site, ..self }
    }

    /// The same, with a chat that is ready.
    pub async fn start(cluster: Cluster, namespace: &str, spec: Value) -> Result<Self> {
        let chat = Self::prepare(cluster, namespace).await?;
        chat.apply(spec).await?;
        chat.await_ready().await?;
        Ok(chat)
    }

    /// `kubectl apply` of the chat with this spec and the host of this place.
    pub async fn apply(&self, mut spec: Value) -> Result<()> {
        spec["host"] = json!(self.site.url.trim_start_matches("http://"));
        let chat = json!({
            "apiVersion": "chatcluster.io/v1alpha1",
            "kind": "ChatCluster",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": spec,
        });
        self.cluster.apply(&chat.to_string()).await?;
        Ok(())
    }

    /// Changes the spec, and waits for the rollout.
    pub async fn change(&self, spec: Value) -> Result<()> {
        self.patch(spec).await?;
        self.await_rolled_out().await
    }

    /// Ready, and the last of the old Pods has closed its sockets and gone.
    pub async fn await_rolled_out(&self) -> Result<()> {
        self.await_ready().await?;
        await_until("the end of the old Pods", PATIENCE, async || {
            let pods = self.api::<Pod>().list(&ListParams::default()).await?;
            let mut leaving = pods
                .iter()
                .filter(|pod| pod.metadata.deletion_timestamp.is_some());
            ensure!(leaving.next().is_none(), "some are leaving");
            Ok(Some(()))
        })
        .await
    }

    /// Changes the spec as `kubectl patch --type merge` does.
    pub async fn patch(&self, spec: Value) -> Result<()> {
        let patch = json!({ "spec": spec }).to_string();
        let verb = ["patch", "chat", &self.name, "--type=merge", "--patch"];
        self.kubectl(&[&verb[..], &[&patch]].concat()).await?;
        Ok(())
    }

    /// The chat as it is now.
    pub async fn seen(&self) -> Result<Value> {
        let kind = ApiResource::erase::<ChatCluster>(&());
        let chats: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &kind);
        Ok(serde_json::to_value(chats.get(&self.name).await?)?)
    }

    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let namespace = ["--namespace", self.namespace.as_str()];
        self.cluster
            .kubectl(&[&namespace[..], arguments].concat())
            .await
    }

    /// Waits until the operator has seen the spec as it is now, and all is as it says.
    pub async fn await_ready(&self) -> Result<()> {
        let ready = await_until("the chat is ready", PATIENCE, async || {
            let chat = self.seen().await?;
            let seen = chat["status"]["observedGeneration"] == chat["metadata"]["generation"];
            let ready = condition(&chat, "Ready");
            ensure!(
                seen && ready["status"] == "True",
                "{}: {}",
                ready["reason"],
                ready["message"]
            );
            Ok(Some(()))
        })
        .await;
        match ready {
            Ok(()) => Ok(()),
            Err(error) => Err(error.context(self.describe().await)),
        }
    }

    /// What one would look at first.
    pub async fn describe(&self) -> String {
        let mut seen = String::new();
        for arguments in [
            &["get", "chat,pods", "-o", "wide"][..],
            &["get", "events", "--field-selector=type=Warning"],
            &[
                "logs",
                "--prefix",
                "--tail=5",
                "--all-containers",
                "-l",
                "app.kubernetes.io/instance=demo",
            ],
        ] {
            match self.kubectl(arguments).await {
                Ok(output) => seen.push_str(&output),
                Err(error) => seen.push_str(&format!("{error:#}")),
            }
            seen.push('\n');
        }
        seen
    }

    /// Every Pod of the chat that is to stay, by name.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let all = self.api::<Pod>().list(&ListParams::default()).await?;
        let staying = all.items.into_iter().filter(|pod| {
            let owners = pod.owner_references();
            !owners.iter().any(|owner| owner.kind == "Job")
                && pod.metadata.deletion_timestamp.is_none()
        });
        Ok(staying.collect())
    }

    /// Waits until this Pod is gone, and all Deployments and StatefulSets have as many
    /// ready Pods as they should; of a StatefulSet, one of the same name again.
    pub async fn await_whole_without(&self, pod: &Pod) -> Result<()> {
        let name = pod.name_any();
        let keeps_its_name = pod
            .owner_references()
            .iter()
            .any(|it| it.kind == "StatefulSet");
        let whole = await_until(
            &format!("all is whole after {name}"),
            PATIENCE,
            async || {
                // What a StatefulSet says of itself may be older than the end of the Pod.
                match self.api::<Pod>().get_opt(&name).await? {
                    Some(same) => {
                        ensure!(same.uid() != pod.uid(), "it ends");
                        ensure!(is_ready(&same), "the next {name} is not ready");
                    }
                    None => ensure!(!keeps_its_name, "{name} is not there again"),
                }
                let all = ListParams::default();
                let deployments = self.api::<Deployment>().list(&all).await?;
                let deployments = deployments.iter().map(|it| {
                    let ready = it.status.as_ref().and_then(|it| it.ready_replicas);
                    (
                        it.name_any(),
                        ready,
                        it.spec.as_ref().and_then(|it| it.replicas),
                    )
                });
                let sets = self.api::<StatefulSet>().list(&all).await?;
                let sets = sets.iter().map(|it| {
                    let ready = it.status.as_ref().and_then(|it| it.ready_replicas);
                    (
                        it.name_any(),
                        ready,
                        it.spec.as_ref().and_then(|it| it.replicas),
                    )
                });
                for (name, ready, wanted) in deployments.chain(sets) {
                    ensure!(ready == wanted, "{name} is not whole");
                }
                Ok(Some(()))
            },
        )
        .await;
        match whole {
            Ok(()) => Ok(()),
            Err(error) => Err(error.context(self.describe().await)),
        }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Sets an annotation of the chat.
    pub async fn annotate(&self, key: &str, value: &str) -> Result<()> {
        let pair = format!("{key}={value}");
        self.kubectl(&["annotate", "chat", &self.name, &pair, "--overwrite"])
            .await?;
        Ok(())
    }

    /// A text in a Secret of the chat.
    pub async fn secret(&self, name: &str) -> Result<Secret> {
        let name = format!("{}-{name}", self.name);
        self.api().get(&name).await.with_context(|| name)
    }

    /// The login with which the pods of a service work.
    pub async fn login(&self, service: Service) -> Result<Login> {
        let secret = self.secret(service.name()).await?;
        // After a change of passwords it is the other one.
        let number = if value(&secret, "user-1").is_some() {
            1
        } else {
            2
        };
        let part = |part: &str| {
            let key = format!("{part}-{number}");
            value(&secret, &key).with_context(|| format!("no {key} of {}", service.name()))
        };
        Ok(Login {
            user: part("user")?,
            password: part("password")?,
        })
    }

    pub async fn postgres_as(&self, login: &Login, service: Service) -> Result<PgConnectOptions> {
        Ok(PgConnectOptions::new_without_pgpass()
            .host(&self.address("postgres").await?)
            .username(&login.user)
            .password(&login.password)
            .database(&rights::role(&self.name, service)))
    }

    pub async fn broker_as(&self, login: &Login) -> Result<String> {
        let Login { user, password } = login;
        let address = self.address("rabbitmq").await?;
        Ok(format!(
            "amqp://{user}:{password}@{address}:5672/{}",
            self.name
        ))
    }

    /// Nothing when Redis does not know the login.
    pub async fn redis_as(&self, login: &Login) -> Result<Option<MultiplexedConnection>> {
        let Login { user, password } = login;
        let address = self.address("redis").await?;
        let redis = redis::Client::open(format!("redis://{user}:{password}@{address}:6379"))?;
        match redis.get_multiplexed_async_connection().await {
            Ok(connection) => Ok(Some(connection)),
            Err(error) if error.kind() == redis::ErrorKind::AuthenticationFailed => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The image that the Pods of a component run.
    pub async fn image_of(&self, component: &str) -> Result<String> {
        let deployment = format!("deployment/{}-{component}", self.name);
        let path = "jsonpath={.spec.template.spec.containers[0].image}";
        self.kubectl(&["get", &deployment, "-o", path]).await
    }

    /// Two people who have a conversation with each other.
    pub async fn two_people(&self) -> Result<(Person, Person, ConversationId)> {
        let ada = Person::sign_up(&self.site, "ada").await?;
        let ben = Person::sign_up(&self.site, "ben").await?;
        // messages hears of new accounts by an event.
        let conversation = await_until("the conversation", PATIENCE, async || {
            ada.conversation_with(&ben).await.map(Some)
        })
        .await?;
        Ok((ada, ben, conversation))
    }

    /// One message, until it is stored.
    pub async fn say(&self, who: &Person, conversation: ConversationId, text: &str) -> Result<()> {
        let mut socket = ChatSocket::open(who).await?;
        let sent = socket.say(conversation, text).await?;
        socket.await_stored(sent).await?;
        socket.close().await
    }

    pub async fn await_no_pods(&self) -> Result<()> {
        await_until("the end of the last Pod", PATIENCE, async || {
            let left = self.api::<Pod>().list(&ListParams::default()).await?;
            ensure!(left.items.is_empty(), "{} are left", left.items.len());
            Ok(Some(()))
        })
        .await
    }

    /// The namespace, and all that is in it.
    pub async fn remove(self) -> Result<()> {
        remove(&self.client, &self.namespace).await
    }

    async fn address(&self, pod: &str) -> Result<String> {
        let pod = format!("{}-{pod}-0", self.name);
        let pod = self.api::<Pod>().get(&pod).await?;
        let address = pod.status.and_then(|status| status.pod_ip);
        address.context("a Pod without an address")
    }
}

impl Backstage for ClusterChat {
    fn name(&self) -> &str {
        &self.name
    }

    /// As the service itself: the superuser is let in from inside its Pod alone.
    async fn database(&self, service: Service) -> Result<PgConnection> {
        let login = self.login(service).await?;
        let options = self.postgres_as(&login, service).await?;
        PgConnection::connect_with(&options)
            .await
            .with_context(|| format!("the database of {}", service.name()))
    }

    async fn redis(&self) -> Result<MultiplexedConnection> {
        let password = value(&self.secret("credentials").await?, "redis");
        let admin = Login {
            user: "admin".to_owned(),
            password: password.context("no password")?,
        };
        let connection = self.redis_as(&admin).await?;
        connection.context("the administrator is refused")
    }

    async fn command(&self, service: Service, arguments: &[&str]) -> Result<String> {
        let deployment = format!("deployment/{}-{}", self.name, service.name());
        self.kubectl(&[&["exec", &deployment, "--", "/app"], arguments].concat())
            .await
    }
}

fn site(cluster: &Cluster, name: &str) -> Site {
    let ingress = SocketAddr::from((cluster.address, 80));
    Site::new(&format!("http://{name}.localhost")).at(ingress)
}

pub fn condition<'a>(chat: &'a Value, kind: &str) -> &'a Value {
    let conditions = chat["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions
        .find(|it| it["type"] == kind)
        .unwrap_or(&Value::Null)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|it| it.conditions.iter().flatten());
    let mut ready = conditions.filter(|it| it.type_ == "Ready");
    ready.any(|it| it.status == "True")
}

fn value(secret: &Secret, key: &str) -> Option<String> {
    let bytes = &secret.data.as_ref()?.get(key)?.0;
    String::from_utf8(bytes.clone()).ok()
}

/// Nobody waits for what a test leaves behind to end in order.
pub async fn remove(client: &Client, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    if namespaces.get_opt(name).await?.is_none() {
        return Ok(());
    }
    namespaces.delete(name, &DeleteParams::default()).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), name);
    let at_once = DeleteParams::default().grace_period(0);
    await_until(&format!("the end of {name}"), PATIENCE, async || {
        pods.delete_collection(&at_once, &ListParams::default())
            .await?;
        Ok(namespaces.get_opt(name).await?.is_none().then_some(()))
    })
    .await
}
