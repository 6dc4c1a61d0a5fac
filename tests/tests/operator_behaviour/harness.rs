//! A namespace in which the operator has exactly its rights.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use chat_e2e::await_until;
use chat_kube::access::Access;
use chat_kube::testing::{TestNamespace, namespace};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::kubelet::Kubelet;
use super::others;
use super::process::{Operator, PATIENCE, printed};
use super::proxy::Proxy;

/// The account that the operator runs as.
pub const ACCOUNT: &str = "chat-operator";

/// Every built-in kind of child.
pub const KINDS: [(&str, &str, &str); 11] = [
    ("", "v1", "ServiceAccount"),
    ("", "v1", "Secret"),
    ("", "v1", "ConfigMap"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("", "v1", "Service"),
    ("apps", "v1", "StatefulSet"),
    ("batch", "v1", "Job"),
    ("apps", "v1", "Deployment"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io", "v1", "Ingress"),
];

/// By kind and name.
pub type Children = BTreeMap<(String, String), DynamicObject>;

pub struct Place {
    pub access: Access,
    /// The administrator's.
    pub client: Client,
    name: String,
    kubeconfig: PathBuf,
    pub kubelet: Kubelet,
    _namespace: Option<TestNamespace>,
}

impl Place {
    /// A fresh namespace of the shared control plane, with the definition, the
    /// operator's account and a stand-in for the kubelet.
    pub async fn new() -> Result<Self> {
        let namespace = namespace().await;
        let place = Self::within(namespace.access.clone(), namespace.name.clone()).await?;
        Ok(Self {
            _namespace: Some(namespace),
            ..place
        })
    }

    /// The same on a control plane of the test's own, which goes as a whole.
    pub async fn on(access: Access) -> Result<Self> {
        let accounts: Api<ServiceAccount> = Api::namespaced(access.client().await?, "default");
        await_until("pods are admitted", PATIENCE, async || {
            Ok(accounts.get_opt("default").await?)
        })
        .await?;
        Self::within(access, "default".to_owned()).await
    }

    async fn within(access: Access, name: String) -> Result<Self> {
        define(&access).await?;
        let client = access.client().await?;
        grant(&client, &name).await?;
        Ok(Self {
            kubeconfig: access.kubeconfig_of_service_account(&name, ACCOUNT).await?,
            kubelet: Kubelet::of(&client, &name),
            _namespace: None,
            access,
            client,
            name,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name by which the audit log knows the operator.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{ACCOUNT}", self.name())
    }

    /// Starts an operator for this namespace alone.
    pub fn operator(&self) -> Result<Operator> {
        self.operator_with(&[])
    }

    /// The same with more arguments of `operator run`.
    pub fn operator_with(&self, more: &[&str]) -> Result<Operator> {
        let (folder, name) = (&self.access.folder, self.name());
        Operator::start(&self.kubeconfig, folder, Some(name), name, more)
    }

    /// Starts an operator for the whole cluster, with the rights for that.
    pub async fn cluster_operator(&self) -> Result<Operator> {
        let metadata = json!({"name": ACCOUNT});
        let role: ClusterRole = serde_json::from_value(
            json!({"metadata": metadata, "rules": rules("--cluster").await?}),
        )?;
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ACCOUNT},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": self.name()}],
        }))?;
        let parameters = PostParams::default();
        Api::all(self.client.clone())
            .create(&parameters, &role)
            .await?;
        Api::all(self.client.clone())
            .create(&parameters, &binding)
            .await?;
        let folder = &self.access.folder;
        Operator::start(&self.kubeconfig, folder, None, self.name(), &[])
    }

    /// The same, with a proxy between it and the API server.
    pub fn operator_through(&self, proxy: &Proxy) -> Result<Operator> {
        let kubeconfig = proxy.kubeconfig(&self.kubeconfig)?;
        let (folder, name) = (&self.access.folder, self.name());
        Operator::start(&kubeconfig, folder, Some(name), name, &[])
    }

    pub async fn proxy(&self) -> Result<Proxy> {
        Proxy::start(&self.access).await
    }

    pub fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(group, version, kind);
        Api::namespaced_with(
            self.client.clone(),
            self.name(),
            &ApiResource::from_gvk(&kind),
        )
    }

    pub fn api_of(&self, kind: &str) -> Result<Api<DynamicObject>> {
        let mut kinds = KINDS.iter().chain(&others::KINDS);
        let known = kinds.find(|(_, _, name)| *name == kind);
        let (group, version, kind) = known.context("an unknown kind")?;
        Ok(self.api(group, version, kind))
    }

    pub fn chats(&self) -> Api<DynamicObject> {
        self.api("chatcluster.io", "v1alpha1", "ChatCluster")
    }

    /// Makes a ChatCluster, or changes it to this spec.
    pub async fn apply(&self, name: &str, spec: Value) -> Result<()> {
        let chat = json!({
            "apiVersion": "chatcluster.io/v1alpha1",
            "kind": "ChatCluster",
            "metadata": {"name": name},
            "spec": spec,
        });
        let parameters = PatchParams::apply("somebody").force();
        self.chats()
            .patch(name, &parameters, &Patch::Apply(chat))
            .await?;
        Ok(())
    }

    /// Changes fields of a ChatCluster.
    pub async fn patch(&self, name: &str, change: Value) -> Result<()> {
        let patch = Patch::Merge(change);
        self.chats()
            .patch(name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    pub async fn chat(&self, name: &str) -> Result<DynamicObject> {
        Ok(self.chats().get(name).await?)
    }

    /// A condition of a ChatCluster that describes its present generation.
    pub async fn condition(&self, name: &str, kind: &str) -> Result<Value> {
        let chat = self.chat(name).await?;
        let conditions = chat.data["status"]["conditions"].as_array();
        let found = conditions
            .into_iter()
            .flatten()
            .find(|it| it["type"] == kind);
        let found = found.context("no such condition")?;
        let described = &found["observedGeneration"];
        ensure!(
            described.as_i64() == chat.metadata.generation,
            "of an older generation"
        );
        Ok(found.clone())
    }

    /// Waits for a condition to have this status and reason.
    pub async fn becomes(
        &self,
        name: &str,
        kind: &str,
        status: &str,
        reason: &str,
    ) -> Result<Value> {
        let what = format!("{name} is {kind}={status} for {reason}");
        let mut last = Value::Null;
        let came = await_until(&what, PATIENCE, async || {
            last = self.condition(name, kind).await?;
            Ok((last["status"] == status && last["reason"] == reason).then(|| last.clone()))
        });
        came.await.with_context(|| format!("last: {last}"))
    }

    pub async fn ready(&self, name: &str) -> Result<()> {
        self.becomes(name, "Ready", "True", "Ready").await?;
        Ok(())
    }

    /// Everything of built-in kinds that was made for a ChatCluster.
    pub async fn children(&self, chat: &str) -> Result<Children> {
        self.children_of(chat, &KINDS).await
    }

    /// The objects of some kinds that were made for a ChatCluster.
    pub async fn children_of(&self, chat: &str, kinds: &[(&str, &str, &str)]) -> Result<Children> {
        let labels =
            format!("app.kubernetes.io/instance={chat},app.kubernetes.io/managed-by=chat-operator");
        let mut children = Children::new();
        for (group, version, kind) in kinds {
            let api = self.api(group, version, kind);
            for object in api.list(&ListParams::default().labels(&labels)).await? {
                children.insert(((*kind).to_owned(), object.name_any()), object);
            }
        }
        Ok(children)
    }

    pub async fn delete_chat(&self, name: &str) -> Result<()> {
        self.chats()
            .delete(name, &DeleteParams::background())
            .await?;
        Ok(())
    }

    /// Makes a Secret, or replaces its data.
    pub async fn secret(&self, name: &str, data: &[(&str, &str)]) -> Result<()> {
        let data: BTreeMap<_, _> = data.iter().copied().collect();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name}, "stringData": data,
        });
        let parameters = PatchParams::apply("somebody").force();
        let api = self.api("", "v1", "Secret");
        api.patch(name, &parameters, &Patch::Apply(secret)).await?;
        Ok(())
    }

    /// The events of a ChatCluster, as type and reason.
    pub async fn events(&self, name: &str) -> Result<Vec<String>> {
        let events = self
            .api("events.k8s.io", "v1", "Event")
            .list(&ListParams::default())
            .await?;
        let of_it = events
            .items
            .iter()
            .filter(|it| it.data["regarding"]["name"] == name);
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        Ok(of_it
            .map(|it| format!("{} {}", text(&it.data["type"]), text(&it.data["reason"])))
            .collect())
    }
}

/// A spec without stores to wait for, for tests that look at other things.
pub fn small() -> Value {
    json!({"host": "chat.example.com"})
}

/// The definition of ChatClusters, as the operator prints it.
async fn define(access: &Access) -> Result<()> {
    let definition: Value = serde_saphyr::from_str(&printed(&["crd"]).await?)?;
    define_as(&access.client().await?, definition).await
}

pub async fn define_as(client: &Client, definition: Value) -> Result<()> {
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let name = definition["metadata"]["name"]
        .as_str()
        .context("no name")?
        .to_owned();
    let parameters = PatchParams::apply("somebody").force();
    api.patch(&name, &parameters, &Patch::Apply(definition))
        .await?;
    await_until("the definition is established", PATIENCE, async || {
        let object = api.get(&name).await?;
        let conditions = object.data["status"]["conditions"].as_array().cloned();
        let is = |it: &Value| it["type"] == "Established" && it["status"] == "True";
        Ok(conditions
            .is_some_and(|all| all.iter().any(is))
            .then_some(()))
    })
    .await
}

/// The rules that `operator rbac` prints.
pub async fn rules(which: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_str(&printed(&["rbac", which]).await?)?)
}

/// An account with the rights of an operator for one namespace, which is its own too.
async fn grant(client: &Client, namespace: &str) -> Result<()> {
    let metadata = || ObjectMeta {
        name: Some(ACCOUNT.into()),
        ..ObjectMeta::default()
    };
    let account = ServiceAccount {
        metadata: metadata(),
        ..ServiceAccount::default()
    };
    let rules = [rules("--namespaces").await?, rules("--own").await?].concat();
    let role: Role = serde_json::from_value(json!({"metadata": metadata(), "rules": rules}))?;
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": metadata(),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    }))?;
    let parameters = PostParams::default();
    let accounts = Api::namespaced(client.clone(), namespace);
    accounts.create(&parameters, &account).await?;
    Api::namespaced(client.clone(), namespace)
        .create(&parameters, &role)
        .await?;
    Api::namespaced(client.clone(), namespace)
        .create(&parameters, &binding)
        .await?;
    Ok(())
}
