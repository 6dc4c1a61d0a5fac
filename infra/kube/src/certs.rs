//! Certificates made on the fly. Kubernetes takes the common name for the user
//! and the organisation for its group.

use std::path::Path;

use anyhow::{Context, Result};
use chat_local::write_private;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// What signs every certificate of one control plane.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        Ok(Self {
            certificate: authority_params().self_signed(&key)?.pem(),
            issuer: Issuer::new(authority_params(), key),
        })
    }

    /// The authority that `save` wrote.
    pub fn load(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))
        };
        Ok(Self {
            certificate: read("ca.crt")?,
            issuer: Issuer::new(authority_params(), KeyPair::from_pem(&read("ca.key")?)?),
        })
    }

    /// Writes `ca.crt` and `ca.key`.
    pub fn save(&self, folder: &Path) -> Result<()> {
        write_private(&folder.join("ca.crt"), &self.certificate)?;
        write_private(&folder.join("ca.key"), self.issuer.key().serialize_pem())
    }

    /// The authority's own certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A client that Kubernetes knows as this user, of this group.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Identity> {
        let mut params = leaf_params(user, &[])?;
        if let Some(group) = group {
            params
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    /// A server that answers under these host names and addresses.
    pub fn server(&self, name: &str, hosts: &[&str]) -> Result<Identity> {
        let mut params = leaf_params(name, hosts)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Result<Identity> {
        let key = KeyPair::generate()?;
        Ok(Identity {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

impl Identity {
    /// Writes `NAME.crt` and `NAME.key`.
    pub fn save(&self, folder: &Path, name: &str) -> Result<()> {
        write_private(&folder.join(format!("{name}.crt")), &self.certificate)?;
        write_private(&folder.join(format!("{name}.key")), &self.key)
    }
}

/// Writes the key pair that signs the tokens of ServiceAccounts and proves them,
/// `service-accounts.key` and `.pub`.
pub fn save_token_keys(folder: &Path) -> Result<()> {
    let key = KeyPair::generate()?;
    write_private(&folder.join("service-accounts.key"), key.serialize_pem())?;
    write_private(&folder.join("service-accounts.pub"), key.public_key_pem())
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "kubernetes");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params
}

fn leaf_params(name: &str, hosts: &[&str]) -> Result<CertificateParams> {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}
