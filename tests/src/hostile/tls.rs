//! TLS for the hostile origin: a private authority, and certificates that are wrong on request.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// How the origin speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsPlan {
    /// What its certificate is like.
    pub certificate: Certificate,
    /// Which protocol it offers.
    pub protocol: Protocol,
}

/// What a certificate is like. All are for `localhost`, 127.0.0.1 and ::1 unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// In order.
    Good,
    /// Expired years ago.
    Expired,
    /// Valid in the next century.
    NotYetValid,
    /// For another host.
    OtherName,
    /// By an authority that nobody knows, whatever roots are given.
    UnknownIssuer,
}

/// Which protocol is offered by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2, on which nothing is ever answered, or HTTP/1.1, on which everything is.
    StallingHttp2,
}

/// An acceptor, and the root that a client needs, as PEM.
pub(super) fn acceptor(plan: TlsPlan) -> anyhow::Result<(TlsAcceptor, String)> {
    let issuer = authority("the hostile origin's authority")?;
    let root = match plan.certificate {
        Certificate::UnknownIssuer => pem(authority("another authority")?.der()),
        _ => pem(issuer.der()),
    };
    let names = match plan.certificate {
        Certificate::OtherName => vec!["elsewhere.example".to_owned()],
        _ => ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
    };
    let mut params = CertificateParams::new(names)?;
    match plan.certificate {
        Certificate::Expired => {
            (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        }
        Certificate::NotYetValid => {
            (params.not_before, params.not_after) = (date_time_ymd(2101, 1, 1), date_time_ymd(2102, 1, 1));
        }
        _ => {}
    }
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = match plan.protocol {
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
        Protocol::StallingHttp2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    Ok((TlsAcceptor::from(Arc::new(config)), root))
}

fn authority(name: &str) -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let base64 = data_encoding::BASE64.encode(certificate);
    let lines: Vec<&str> = base64.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
