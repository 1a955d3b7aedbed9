//! The service's signed confirmation that it keeps a report.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::dsse::{self, DsseError, SigningKey};

const PAYLOAD_TYPE: &str = "application/vnd.tidegate.usage-receipt+json";
const FORMAT: u32 = 1;

/// What became of a report at the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReceiptVerdict {
    /// Read and counted.
    Accepted,
    /// Kept, and not read: it is of a release that the service does not know.
    Quarantined,
}

impl ReceiptVerdict {
    /// As shown and stored.
    pub fn as_str(self) -> &'static str {
        match self {
            ReceiptVerdict::Accepted => "accepted",
            ReceiptVerdict::Quarantined => "quarantined",
        }
    }
}

/// What the service says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Receipt {
    /// Version of the form.
    pub format: u32,
    /// Id of the report.
    pub report: String,
    /// Hierarchy that it is from.
    pub hierarchy: String,
    /// SHA-256 of the report.
    pub sha256: String,
    /// When it was stored.
    pub received: Timestamp,
    /// What became of it.
    pub verdict: ReceiptVerdict,
}

/// Why a receipt is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not signed by the service.
    #[error("the receipt is not believed: {0}")]
    Envelope(#[from] DsseError),
    /// Signed, and no receipt.
    #[error("the receipt cannot be read: {0}")]
    Malformed(String),
    /// The receipt of something else.
    #[error("the receipt is for another report")]
    Another,
}

impl Receipt {
    /// A receipt of this release's form.
    pub fn new(
        report: &str,
        hierarchy: &str,
        sha256: &str,
        received: Timestamp,
        verdict: ReceiptVerdict,
    ) -> Self {
        Receipt {
            format: FORMAT,
            report: report.to_owned(),
            hierarchy: hierarchy.to_owned(),
            sha256: sha256.to_owned(),
            received,
            verdict,
        }
    }

    /// Signs it: one line of JSON.
    pub fn sign(&self, key: &SigningKey) -> String {
        dsse::sign(PAYLOAD_TYPE, &serde_json::to_vec(self).unwrap_or_default(), key)
    }

    /// Reads a receipt that one of these keys signed, for this report and no other.
    pub fn verify(text: &[u8], keys: &[String], report: &str, sha256: &str) -> Result<Receipt, ReceiptError> {
        let (payload, _) = dsse::verify(PAYLOAD_TYPE, text, Some(keys))?;
        let receipt: Receipt = serde_json::from_slice(&payload)
            .map_err(|failure| ReceiptError::Malformed(failure.to_string()))?;
        if receipt.format != FORMAT {
            return Err(ReceiptError::Malformed(format!(
                "format {} is not known",
                receipt.format
            )));
        }
        if receipt.report != report || receipt.sha256 != sha256 {
            return Err(ReceiptError::Another);
        }
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_of_one_report_and_one_service() {
        let key = SigningKey::from_seed(&[3; 32]).unwrap();
        let other = SigningKey::from_seed(&[4; 32]).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let receipt = Receipt::new("r", "h", "s", now, ReceiptVerdict::Accepted);
        let text = receipt.sign(&key);
        let keys = [key.public()];
        assert_eq!(
            Receipt::verify(text.as_bytes(), &keys, "r", "s"),
            Ok(receipt.clone())
        );
        assert_eq!(
            Receipt::verify(text.as_bytes(), &keys, "x", "s"),
            Err(ReceiptError::Another)
        );
        assert_eq!(
            Receipt::verify(text.as_bytes(), &keys, "r", "x"),
            Err(ReceiptError::Another)
        );
        assert!(Receipt::verify(receipt.sign(&other).as_bytes(), &keys, "r", "s").is_err());
        let newer = Receipt { format: 2, ..receipt };
        assert!(matches!(
            Receipt::verify(newer.sign(&key).as_bytes(), &keys, "r", "s"),
            Err(ReceiptError::Malformed(_))
        ));
    }
}
