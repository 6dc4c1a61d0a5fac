//! An identity for each workload, without a token: no pod asks the API server.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::meta;
use crate::resources::Resources;
use crate::validate::Validated;

pub fn build(chat: &Validated, out: &mut Resources) {
    out.service_accounts
        .extend(chat.parts.keys().map(|part| ServiceAccount {
            metadata: meta::object(chat, part.name(), ""),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        }));
}
