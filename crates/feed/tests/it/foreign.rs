//! What other publishers may write and we must read: unknown fields, other kinds of keys, ids of any shape, roles with
//! other keys.

use feed::Reason;
use serde_json::json;

use crate::repository::{Reader, Repository, key};

#[tokio::test]
async fn unknown_fields_and_roles_are_kept_in_what_is_signed() {
    let mut repository = Repository::new();
    repository.root["custom-field"] = json!({"a": [1, "two", null]});
    repository.root["roles"]["root"]["x-note"] = json!("value");
    repository.root["roles"]["mirrors"] = json!({"keyids": ["key-1"], "threshold": 1});
    repository.root["keys"]["key-1"]["keyid_hash_algorithms"] = json!("md5");
    repository.next_root();
    for role in ["timestamp", "snapshot", "targets"] {
        repository.document(role)["x-unknown"] = json!({"nested": {"text": "line\nbreak \"quoted\" \\ ünï"}});
    }
    repository.next_targets("targets");
    let reader = Reader::new(&repository);
    reader.refresh().await.unwrap();
    assert_eq!(reader.versions(), [2, 2, 2, 2]);
}

#[tokio::test]
async fn keys_of_unknown_kinds_do_no_harm_beside_known_ones() {
    let mut repository = Repository::new();
    for (id, value) in [
        (
            "unknown-scheme",
            json!({"keytype": "x", "scheme": "x-1", "keyval": {"public": "x"}}),
        ),
        (
            "broken",
            json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "zz"}}),
        ),
        (
            "",
            json!({"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": {"public": "no pem"}}),
        ),
    ] {
        repository.root["keys"][id] = value;
        repository.root["roles"]["timestamp"]["keyids"]
            .as_array_mut()
            .unwrap()
            .push(json!(id));
    }
    // An id that names no key at all.
    repository.root["roles"]["timestamp"]["keyids"]
        .as_array_mut()
        .unwrap()
        .push(json!("nobody"));
    repository.next_root();
    let reader = Reader::new(&repository);
    reader.refresh().await.unwrap();
    repository.root["roles"]["timestamp"]["threshold"] = json!(2);
    repository.next_root();
    let error = reader.refresh().await.unwrap_err();
    assert_eq!(error.reason(), Reason::Threshold);
}

#[tokio::test]
async fn other_signature_schemes() {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
    let mut repository = Repository::new();
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let mut der = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
    der.extend_from_slice(pair.public_key().as_ref());
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der);
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n",
        &base64[..64],
        &base64[64..]
    );
    repository.root["keys"]["ec"] =
        json!({"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": pem}});
    repository.root["roles"]["root"] = json!({"keyids": ["key-1", "ec"], "threshold": 2});
    repository.bump("root");
    let root = repository.root.clone();
    let message = sigstore_tuf::canonical_json::to_canonical_bytes(&root).unwrap();
    let signature = hex::encode(pair.sign(&random, &message).unwrap().as_ref());
    let signatures = |sig: &str| json!([key(1).signature(&root), {"keyid": "ec", "sig": sig}]);
    let serve = |repository: &mut Repository, sig: &str| {
        let file = json!({"signed": root, "signatures": signatures(sig)});
        repository.serve_role("root", "2", file.to_string().into_bytes());
    };
    let reader = Reader::new(&repository);
    for wrong in ["", "00", "not hexadecimal", &signature.replace("30", "31")] {
        serve(&mut repository, wrong);
        assert_eq!(
            reader.refresh().await.unwrap_err().reason(),
            Reason::Threshold,
            "{wrong}"
        );
    }
    serve(&mut repository, &signature);
    reader.refresh().await.unwrap();
    assert_eq!(reader.version("root"), 2);
}

#[tokio::test]
async fn roles_below_root_follow_new_keys() {
    for (keys, threshold, signers, accepted) in [
        (vec![50], 1, vec![50], true),
        (vec![51], 1, vec![53, 51, 54], true),
        (vec![52], 1, vec![51, 53], false),
        (vec![50, 51, 53, 54, 55], 3, vec![50, 52, 54], false),
        (vec![50, 51, 52, 53, 54], 3, vec![52, 53, 54], true),
    ] {
        for role in ["timestamp", "snapshot", "targets"] {
            let mut repository = Repository::new();
            let reader = Reader::new(&repository);
            reader.refresh().await.unwrap();
            let ids: Vec<String> = keys.iter().map(|&number| key(number).id).collect();
            for &number in &keys {
                repository.root["keys"][key(number).id] = key(number).value();
            }
            repository.root["roles"][role] = json!({"keyids": ids, "threshold": threshold});
            repository.next_root();
            repository.signers.insert(
                role.to_owned(),
                signers.iter().map(|&number| key(number)).collect(),
            );
            repository.next_targets("targets");
            match reader.refresh().await {
                Ok(_) => assert!(accepted, "{role} {keys:?}"),
                Err(error) => {
                    assert!(!accepted, "{role} {keys:?}: {error}");
                    assert_eq!((error.reason(), error.role()), (Reason::Threshold, Some(role)));
                }
            }
        }
    }
}
