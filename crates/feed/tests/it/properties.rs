//! Whatever bytes a server sends, a reader answers with an error and keeps what it trusts.

use feed::fuzz;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::Value;

use crate::repository::{Reader, Repository};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    }
}

/// JSON that looks a little like metadata.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9:.*/-]{0,12}".prop_map(Value::from),
        prop_oneof![Just("targets"), Just("2031-01-01T00:00:00Z"), Just("1.0.31")].prop_map(Value::from),
    ];
    let field = prop_oneof![
        Just("signed"),
        Just("signatures"),
        Just("_type"),
        Just("spec_version"),
        Just("version"),
        Just("expires"),
        Just("meta"),
        Just("snapshot.json"),
        Just("targets"),
        Just("delegations"),
        Just("keys"),
        Just("roles"),
        Just("keyids"),
        Just("threshold"),
        Just("name"),
        Just("paths"),
        Just("hashes"),
        Just("length")
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((field.clone(), inner), 0..6).prop_map(|fields| fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn any_bytes_as_metadata(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz::fuzz_metadata(&bytes);
        fuzz::fuzz_pattern(&bytes);
        fuzz::fuzz_path(&bytes);
    }

    #[test]
    fn any_json_as_metadata(value in json()) {
        fuzz::fuzz_metadata(value.to_string().as_bytes());
    }

    #[test]
    fn patterns_end(pattern in "[ab*?\\[\\]!/-]{0,30}", path in "[ab/]{0,40}") {
        fuzz::fuzz_pattern(format!("{pattern}\n{path}").as_bytes());
    }
}

proptest! {
    #![proptest_config(config(64))]

    /// One byte of one file flipped, or the file cut: never accepted with other content, never stored.
    #[test]
    fn a_flipped_bit_is_never_trusted(
        file in prop_oneof![Just("timestamp"), Just("snapshot"), Just("targets")],
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
        cut in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut repository = Repository::new();
        let sound = repository.signed(file);
        let mut bytes = sound.clone();
        if cut {
            bytes.truncate(at.index(sound.len()));
        } else {
            bytes[at.index(sound.len())] ^= 1 << bit;
        }
        repository.serve_role(file, "1", bytes.clone());
        let reader = Reader::new(&repository);
        let outcome = runtime.block_on(reader.refresh());
        if outcome.is_ok() {
            // White space, or a spelling of the same content.
            let before: Value = serde_json::from_slice(&sound).unwrap();
            let after: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(&before["signed"], &after["signed"]);
        } else {
            prop_assert_eq!(reader.stored(file), None);
        }
        repository.serve_role(file, "1", sound.clone());
        runtime.block_on(reader.refresh()).unwrap();
    }
}
