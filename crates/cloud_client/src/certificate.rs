//! What a chain of certificates tells: whose it is, what is wrong with it, who stands in the way.

use domain::connectivity::Fault;
use jiff::Timestamp;
use rustls::CertificateError;
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use crate::tls::{Roots, Shown};

/// Names of a certificate that are shown; there may be a thousand.
const NAMES_SHOWN: usize = 10;
/// Longest name that is shown.
const NAME_CHARACTERS: usize = 200;
/// Most addresses taken from an extension.
const URLS_MAX: usize = 8;

/// Makers of devices that look into TLS, as their certificates name them.
const APPLIANCES: [(&str, &str); 24] = [
    ("fortinet", "Fortinet"),
    ("fortigate", "Fortinet"),
    ("palo alto", "Palo Alto Networks"),
    ("zscaler", "Zscaler"),
    ("netskope", "Netskope"),
    ("blue coat", "Blue Coat"),
    ("bluecoat", "Blue Coat"),
    ("symantec web security", "Symantec"),
    ("sophos", "Sophos"),
    ("check point", "Check Point"),
    ("cisco umbrella", "Cisco"),
    ("cisco secure access", "Cisco"),
    ("ironport", "Cisco"),
    ("mcafee web gateway", "McAfee"),
    ("skyhigh", "Skyhigh"),
    ("forcepoint", "Forcepoint"),
    ("websense", "Forcepoint"),
    ("barracuda", "Barracuda"),
    ("watchguard", "WatchGuard"),
    ("sonicwall", "SonicWall"),
    ("untangle", "Untangle"),
    ("kaspersky", "Kaspersky"),
    ("mitmproxy", "mitmproxy"),
    ("huawei", "Huawei"),
];

/// Words in the names of public certificate authorities.
const PUBLIC_AUTHORITIES: [&str; 26] = [
    "digicert",
    "let's encrypt",
    "internet security research group",
    "globalsign",
    "sectigo",
    "comodo",
    "usertrust",
    "microsoft corporation",
    "google trust services",
    "entrust",
    "amazon",
    "baltimore",
    "cybertrust",
    "identrust",
    "godaddy",
    "go daddy",
    "starfield",
    "verisign",
    "geotrust",
    "thawte",
    "quovadis",
    "certum",
    "buypass",
    "ssl.com",
    "swisssign",
    "actalis",
];

/// A certificate as people look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub subject: String,
    pub issuer: String,
    pub names: Vec<String>,
    pub names_count: usize,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub fingerprint: String,
    pub issuer_urls: Vec<String>,
    pub crl_urls: Vec<String>,
}

/// The subject of a certificate, in lower case; none for what cannot be read.
pub(crate) fn subject_of(der: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.subject().to_string().to_lowercase())
}

/// Reads a certificate; none for bytes that are none.
pub(crate) fn summary(der: &[u8]) -> Option<Summary> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let mut names = Vec::new();
    let mut names_count = 0;
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        for name in &alternative.value.general_names {
            names_count += 1;
            let shown = match name {
                GeneralName::DNSName(name) => (*name).to_owned(),
                GeneralName::IPAddress(bytes) => address(bytes),
                _ => continue,
            };
            if names.len() < NAMES_SHOWN {
                names.push(tame(&shown));
            }
        }
    }
    let (mut issuer_urls, mut crl_urls) = (Vec::new(), Vec::new());
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::AuthorityInfoAccess(access) => {
                for description in &access.accessdescs {
                    // id-ad-caIssuers
                    if description.access_method.to_id_string() == "1.3.6.1.5.5.7.48.2" {
                        push_url(&mut issuer_urls, &description.access_location);
                    }
                }
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                for point in &points.points {
                    if let Some(DistributionPointName::FullName(full)) = &point.distribution_point {
                        full.iter().for_each(|name| push_url(&mut crl_urls, name));
                    }
                }
            }
            _ => {}
        }
    }
    let at = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    Some(Summary {
        subject: shown_name(certificate.subject()),
        issuer: shown_name(certificate.issuer()),
        names,
        names_count,
        not_before: at(certificate.validity().not_before)?,
        not_after: at(certificate.validity().not_after)?,
        fingerprint: hex::encode(Sha256::digest(der)),
        issuer_urls,
        crl_urls,
    })
}

fn push_url(urls: &mut Vec<String>, name: &GeneralName<'_>) {
    if let GeneralName::URI(url) = name
        && urls.len() < URLS_MAX
        && url.len() <= 2048
    {
        urls.push(tame(url));
    }
}

fn address(bytes: &[u8]) -> String {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return std::net::Ipv4Addr::from(four).to_string();
    }
    <[u8; 16]>::try_from(bytes).map_or_else(
        |_| "an address of odd length".to_owned(),
        |bytes| std::net::Ipv6Addr::from(bytes).to_string(),
    )
}

fn shown_name(name: &X509Name<'_>) -> String {
    let text = name.to_string();
    match text.is_empty() {
        true => "(no name)".to_owned(),
        false => tame(&text),
    }
}

/// One bounded line without control characters.
fn tame(text: &str) -> String {
    text.chars()
        .take(NAME_CHARACTERS)
        .map(|c| if c.is_control() { '.' } else { c })
        .collect()
}

/// The fault of a chain with the words that prove it; none for a good one.
pub(crate) fn judge(shown: &Shown, roots: &Roots, host: &str, now: Timestamp) -> Option<(Fault, String)> {
    let error = shown.verdict.as_ref().err()?;
    let Some(leaf) = summary(&shown.end_entity) else {
        return Some((Fault::CertInvalid, "the certificate cannot be read".to_owned()));
    };
    let rustls::Error::InvalidCertificate(error) = error else {
        return Some((Fault::CertInvalid, error.to_string()));
    };
    let expired = |until: Timestamp| {
        (
            Fault::CertExpired,
            format!("valid until {until}, now it is {now}; issued by {}", leaf.issuer),
        )
    };
    Some(match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let shortest = chain(shown).iter().map(|one| one.not_after).min();
            expired(shortest.unwrap_or(leaf.not_after))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            Fault::CertNotYetValid,
            format!(
                "valid from {}, now it is {now}; issued by {}",
                leaf.not_before, leaf.issuer
            ),
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            Fault::CertName,
            format!(
                "{host} is asked for, the certificate is for {}; issued by {}",
                names_of(&leaf),
                leaf.issuer
            ),
        ),
        CertificateError::Revoked => (
            Fault::CertRevoked,
            format!("{} is revoked by {}", leaf.subject, leaf.issuer),
        ),
        CertificateError::UnknownIssuer => unknown_issuer(shown, roots, &leaf),
        other => {
            let text = format!("{other:?}")
                .chars()
                .take(NAME_CHARACTERS)
                .collect::<String>();
            (Fault::CertInvalid, format!("{text}; issued by {}", leaf.issuer))
        }
    })
}

fn names_of(leaf: &Summary) -> String {
    match leaf.names_count {
        0 => leaf.subject.clone(),
        count if count > leaf.names.len() => {
            format!("{} and {} more", leaf.names.join(", "), count - leaf.names.len())
        }
        _ => leaf.names.join(", "),
    }
}

/// The certificates from the server's own upwards, as far as they follow from one another.
fn chain(shown: &Shown) -> Vec<Summary> {
    let Some(leaf) = summary(&shown.end_entity) else {
        return Vec::new();
    };
    let others: Vec<Summary> = shown
        .intermediates
        .iter()
        .take(16)
        .filter_map(|der| summary(der))
        .collect();
    let mut chain = vec![leaf];
    while let Some(last) = chain.last()
        && last.issuer != last.subject
        && let Some(next) = others.iter().find(|other| other.subject == last.issuer)
        && chain.len() <= others.len()
    {
        chain.push(next.clone());
    }
    chain
}

/// Who signed what nobody here knows: a device on the way, a root that is missing, or an intermediate
/// that was not sent.
fn unknown_issuer(shown: &Shown, roots: &Roots, leaf: &Summary) -> (Fault, String) {
    let chain = chain(shown);
    let top = chain.last().unwrap_or(leaf);
    let everything = chain
        .iter()
        .flat_map(|one| [one.subject.to_lowercase(), one.issuer.to_lowercase()])
        .collect::<Vec<_>>()
        .join("\n");
    let fingerprint = &leaf.fingerprint[..16];
    let told = |maker: &str| {
        (
            Fault::CertIntercepted,
            format!("issued by {}{maker}, fingerprint {fingerprint}…", top.issuer),
        )
    };
    if let Some((_, maker)) = APPLIANCES.iter().find(|(word, _)| everything.contains(word)) {
        return told(&format!(" (a device of {maker})"));
    }
    let issuer = top.issuer.to_lowercase();
    let public = PUBLIC_AUTHORITIES.iter().any(|word| issuer.contains(word));
    let self_signed = top.issuer == top.subject;
    if self_signed && public {
        return (
            Fault::CertUntrustedRoot,
            format!("the chain ends at {}, which is not trusted here", top.subject),
        );
    }
    if !self_signed {
        // A trusted root of the same organisation: its intermediate was left out.
        let organisation = organisation(&issuer);
        let related = organisation.is_some_and(|own| {
            roots
                .subjects
                .iter()
                .any(|subject| subject.contains(&format!("o={own}")))
        });
        if public || related || !top.issuer_urls.is_empty() {
            let from = match top.issuer_urls.first() {
                Some(url) => format!("; it is at {url}"),
                None => String::new(),
            };
            return (
                Fault::CertIncomplete,
                format!("the certificate of {} was not sent{from}", top.issuer),
            );
        }
    }
    told("")
}

fn organisation(name: &str) -> Option<&str> {
    name.split(", ").find_map(|part| part.strip_prefix("o="))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    };
    use rustls_pki_types::{ServerName, UnixTime};

    use super::*;
    use crate::tls::Recorder;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn params(names: &[&str], name: &str, organisation: &str) -> CertificateParams {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
            .distinguished_name
            .push(DnType::OrganizationName, organisation);
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        params
    }

    fn authority(name: &str, organisation: &str) -> Authority {
        let mut params = params(&[], name, organisation);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn leaf(by: &Authority, names: &[&str]) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        params(names, "leaf", "Leaves")
            .signed_by(&key, by)
            .unwrap()
            .der()
            .clone()
    }

    fn verdict(
        trusted: Option<&Authority>,
        leaf: CertificateDer<'static>,
        sent: &[&Authority],
        host: &str,
        at: &str,
    ) -> Option<(Fault, String)> {
        let mut store = rustls::RootCertStore::empty();
        let mut subjects = Vec::new();
        if let Some(root) = trusted {
            store.add(root.der().clone()).unwrap();
            subjects.extend(subject_of(root.der()));
        }
        let roots = Roots {
            store: std::sync::Arc::new(store),
            subjects: std::sync::Arc::new(subjects),
        };
        let now: Timestamp = at.parse().unwrap();
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.as_second() as u64));
        let recorder = Recorder::new(&roots, Vec::new(), at);
        let intermediates: Vec<CertificateDer<'static>> = sent.iter().map(|one| one.der().clone()).collect();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let verdict = recorder.judge(&leaf, &intermediates, &name, &[]);
        judge(
            &Shown {
                end_entity: leaf,
                intermediates,
                verdict,
            },
            &roots,
            host,
            now,
        )
    }

    const NOW: &str = "2026-06-01T00:00:00Z";

    #[test]
    fn faults_of_chains() {
        let ours = authority("Our Root", "Ours");
        let check = |found: Option<(Fault, String)>, fault: Fault, part: &str| {
            let (found, evidence) = found.unwrap();
            assert_eq!(found, fault, "{evidence}");
            assert!(evidence.contains(part), "{evidence}");
        };
        assert_eq!(
            verdict(Some(&ours), leaf(&ours, &["h.example"]), &[], "h.example", NOW),
            None
        );
        check(
            verdict(
                Some(&ours),
                leaf(&ours, &["h.example"]),
                &[],
                "h.example",
                "2028-01-01T00:00:00Z",
            ),
            Fault::CertExpired,
            "2027-01-01",
        );
        check(
            verdict(
                Some(&ours),
                leaf(&ours, &["h.example"]),
                &[],
                "h.example",
                "2025-01-01T00:00:00Z",
            ),
            Fault::CertNotYetValid,
            "2026-01-01",
        );
        check(
            verdict(
                Some(&ours),
                leaf(&ours, &["other.example"]),
                &[],
                "h.example",
                NOW,
            ),
            Fault::CertName,
            "other.example",
        );
        let device = authority("FortiGate CA", "Fortinet");
        check(
            verdict(
                Some(&ours),
                leaf(&device, &["h.example"]),
                &[&device],
                "h.example",
                NOW,
            ),
            Fault::CertIntercepted,
            "device of Fortinet",
        );
        let private = authority("Plant 7", "Private");
        check(
            verdict(Some(&ours), leaf(&private, &["h.example"]), &[], "h.example", NOW),
            Fault::CertIntercepted,
            "Plant 7",
        );
        let public = authority("DigiCert Global Root X9", "DigiCert Inc");
        check(
            verdict(
                Some(&ours),
                leaf(&public, &["h.example"]),
                &[&public],
                "h.example",
                NOW,
            ),
            Fault::CertUntrustedRoot,
            "DigiCert Global Root X9",
        );
        let intermediate = authority("Our Issuing 3", "Ours");
        check(
            verdict(
                Some(&ours),
                leaf(&intermediate, &["h.example"]),
                &[],
                "h.example",
                NOW,
            ),
            Fault::CertIncomplete,
            "Our Issuing 3",
        );
    }

    #[test]
    fn a_thousand_names_are_read_and_ten_are_shown() {
        let ours = authority("Our Root", "Ours");
        let names: Vec<String> = (0..1000).map(|number| format!("n{number}.example")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let der = leaf(&ours, &names);
        let summary = summary(&der).unwrap();
        assert_eq!((summary.names.len(), summary.names_count), (10, 1000));
        let (fault, evidence) = verdict(Some(&ours), der.clone(), &[], "h.example", NOW).unwrap();
        assert_eq!(fault, Fault::CertName);
        assert!(
            evidence.contains("990 more") && evidence.len() < 600,
            "{evidence}"
        );
        assert_eq!(verdict(Some(&ours), der, &[], "n999.example", NOW), None);
    }

    proptest! {
        #[test]
        fn damaged_certificates_do_not_panic(at in 0_usize..600, flip in 1_u8.., cut in 0_usize..800) {
            static DER: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
            let der = DER.get_or_init(|| leaf(&authority("A", "B"), &["h.example"]).to_vec());
            let mut bytes = der.clone();
            let place = at % bytes.len();
            bytes[place] ^= flip;
            bytes.truncate(cut.max(1));
            let _ = summary(&bytes);
        }
    }
}
