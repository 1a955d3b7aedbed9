//! Certificates for the servers of the tests.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};

/// An authority whose certificate is in a file.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub pem: PathBuf,
}

/// Validity in whole years.
#[derive(Clone, Copy)]
pub enum Valid {
    Now,
    Past,
    Future,
}

fn params(names: &[&str], name: &str, organisation: &str, valid: Valid) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, organisation);
    let (from, to) = match valid {
        Valid::Now => (2020, 2100),
        Valid::Past => (2010, 2011),
        Valid::Future => (2090, 2100),
    };
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(to, 1, 1);
    params
}

impl Authority {
    /// A root of its own.
    pub fn root(folder: &Path, file: &str, name: &str, organisation: &str) -> Authority {
        let mut params = params(&[], name, organisation, Valid::Now);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self::written(folder, file, issuer)
    }

    /// An authority below this one.
    pub fn below(&self, folder: &Path, file: &str, name: &str, organisation: &str) -> Authority {
        let mut params = params(&[], name, organisation, Valid::Now);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.issuer).unwrap();
        Self::written(folder, file, issuer)
    }

    fn written(folder: &Path, file: &str, issuer: CertifiedIssuer<'static, KeyPair>) -> Authority {
        let pem = folder.join(file);
        std::fs::write(&pem, issuer.pem()).unwrap();
        std::fs::write(pem.with_extension("key"), issuer.key().serialize_pem()).unwrap();
        Authority { issuer, pem }
    }

    /// Writes NAME.pem with the certificate and what follows it, and NAME.key.
    pub fn server(
        &self,
        folder: &Path,
        file: &str,
        names: &[&str],
        valid: Valid,
        sent: &[&Authority],
        crl: Option<&str>,
    ) {
        let mut params = params(names, names[0], "Servers", valid);
        if let Some(url) = crl {
            params.crl_distribution_points = vec![rcgen::CrlDistributionPoint {
                uris: vec![url.to_owned()],
            }];
        }
        params.serial_number = Some(rcgen::SerialNumber::from(77_u64));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut pem = certificate.pem();
        sent.iter()
            .for_each(|authority| pem.push_str(&authority.issuer.pem()));
        std::fs::write(folder.join(format!("{file}.pem")), pem).unwrap();
        std::fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    /// A list that names serial number 77, or none, in DER.
    pub fn revocations(&self, revoked: bool) -> Vec<u8> {
        let mut list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(2100, 1, 1),
            crl_number: rcgen::SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        if revoked {
            list.revoked_certs.push(rcgen::RevokedCertParams {
                serial_number: rcgen::SerialNumber::from(77_u64),
                revocation_time: rcgen::date_time_ymd(2021, 1, 1),
                reason_code: None,
                invalidity_date: None,
            });
        }
        list.signed_by(&self.issuer).unwrap().der().to_vec()
    }
}
