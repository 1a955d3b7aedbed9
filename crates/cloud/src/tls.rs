//! Certificates of `cloud serve`: an authority of the vendor's own and a server certificate below it.
//!
//! The authority's key is made, used once and written beside the root keys, because who holds it can pose as the
//! server. Nothing of the feed's safety rests on it: sites verify every byte against the root of the feed.

use std::net::IpAddr;
use std::path::Path;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use crate::error::{CloudError, io};
use crate::files;

/// What browsers and several TLS stacks accept at most is 825 days; both ends are whole days.
const SERVER_DAYS: i64 = 820;
const AUTHORITY_DAYS: i64 = 3650;
/// Where the authority's key lies, below the folder of the root keys.
const AUTHORITY_KEY: &str = "tls-ca.key";

/// Makes what is missing in `folder`: `ca.pem`, `server.pem` and `server.key`. Returns whether it made anything.
pub(crate) fn ensure(
    folder: &Path,
    offline: &Path,
    name: &str,
    host_names: &[String],
    now: Timestamp,
) -> Result<bool, CloudError> {
    if folder.join("server.pem").exists() {
        return Ok(false);
    }
    files::create_private_folder(folder)?;
    files::create_private_folder(offline)?;
    let refuse = |source| CloudError::Certificate { source };
    let authority_key = KeyPair::generate().map_err(refuse)?;
    let mut authority = params(&format!("{name} feed authority"), now, AUTHORITY_DAYS)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_pem = authority.self_signed(&authority_key).map_err(refuse)?.pem();

    let server_key = KeyPair::generate().map_err(refuse)?;
    let common = host_names.first().map_or("localhost", String::as_str);
    let mut server = params(common, now, SERVER_DAYS)?;
    server.subject_alt_names = CertificateParams::new(host_names.to_vec())
        .map_err(refuse)?
        .subject_alt_names;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let issuer = Issuer::from_params(&authority, &authority_key);
    let server_pem = server.signed_by(&server_key, &issuer).map_err(refuse)?.pem();

    // The certificate last: where it is, everything is.
    for (path, text, mode) in [
        (offline.join(AUTHORITY_KEY), authority_key.serialize_pem(), 0o600),
        (folder.join("ca.pem"), authority_pem, 0o644),
        (folder.join("server.key"), server_key.serialize_pem(), 0o600),
        (folder.join("server.pem"), server_pem, 0o644),
    ] {
        files::write(&path, text.as_bytes(), mode).map_err(io("write", &path))?;
    }
    Ok(true)
}

/// Whether a host name can stand in a certificate and a URL.
pub(crate) fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(label))
}

/// Validity is always explicit: the library's default reaches into the year 4096.
fn params(common_name: &str, now: Timestamp, days: i64) -> Result<CertificateParams, CloudError> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let day = |date: Date| {
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        rcgen::date_time_ymd(i32::from(date.year()), month, day)
    };
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(
        DnType::CommonName,
        common_name.chars().take(64).collect::<String>(),
    );
    params.distinguished_name = subject;
    // A site whose clock runs a little late must not refuse a new feed.
    params.not_before = day(today.saturating_sub(1.day()));
    params.not_after = day(today.saturating_add(days.days()));
    Ok(params)
}
