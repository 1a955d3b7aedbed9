//! The behaviour of the verbs together, on a real file.

use domain::servicing::package::PackageGuid;
use domain::servicing::state::PackageState;
use domain::servicing::transition::{PackageEvent, Verdict};
use jiff::Timestamp;

use crate::{ConditionRow, ListedPackage, NewStatusMessage, StatusFilter, Store, StoreError};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn listed(guid: u128) -> ListedPackage {
    ListedPackage {
        guid: PackageGuid(guid),
        name: format!("Package {guid}"),
        full_version: format!("5.00.91{guid:02}.1000").parse().unwrap(),
        released_at: at(1),
        record: "{}".into(),
    }
}

#[test]
fn packages_come_go_and_keep_their_state() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("site.db")).unwrap();
    store
        .write_blocking::<_, StoreError>(|tx| {
            tx.store_shard("catalogue/0", &[listed(1), listed(2)], at(10))?;
            tx.record_shard("catalogue/0", Some("aa"))?;
            let row = tx.package(PackageGuid(1))?;
            tx.apply_all(
                &row,
                &[PackageEvent::Listed, PackageEvent::Evaluated(Verdict::Applicable)],
                "",
                at(11),
            )?;
            tx.set_newest(Some(PackageGuid(1)))
        })
        .unwrap();
    // A second catalogue without package 1 keeps its row, unlisted.
    store
        .write_blocking::<_, StoreError>(|tx| tx.store_shard("catalogue/0", &[listed(2)], at(20)))
        .unwrap();
    store
        .read_blocking::<_, StoreError>(|tx| {
            let row = tx.package(PackageGuid(1))?;
            assert_eq!(
                (row.state, row.listed, row.newest),
                (PackageState::ApplicabilitySuccess, false, true)
            );
            assert_eq!(tx.history(Some(PackageGuid(1)), 10)?.len(), 1);
            assert_eq!(tx.sync()?.catalogue_generation, 1);
            assert_eq!(tx.packages(false, 10)?.len(), 1);
            assert_eq!(tx.packages(true, 10)?.len(), 2);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_refused_event_rolls_everything_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("site.db")).unwrap();
    let refused = store.write_blocking::<(), StoreError>(|tx| {
        tx.store_shard("catalogue/0", &[listed(1)], at(10))?;
        tx.apply(PackageGuid(1), PackageEvent::InstallStarted, "", at(11))
            .map(drop)
    });
    assert!(matches!(refused, Err(StoreError::Illegal { .. })));
    let count = store
        .read_blocking::<_, StoreError>(|tx| tx.package_count())
        .unwrap();
    assert_eq!(count, 0);
}

#[test]
fn a_stale_actor_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("site.db")).unwrap();
    let stale = store.write_blocking::<_, StoreError>(|tx| {
        tx.store_shard("catalogue/0", &[listed(1)], at(10))?;
        let row = tx.package(PackageGuid(1))?;
        let events = [PackageEvent::Listed, PackageEvent::Evaluated(Verdict::Applicable)];
        tx.apply_all(&row, &events, "first", at(11))?;
        tx.apply_all(&row, &events, "second", at(12))
    });
    assert!(matches!(stale, Err(StoreError::NotFound { .. })));
}

#[test]
fn conditions_and_messages_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("site.db")).unwrap();
    let condition = ConditionRow {
        text: "site.release >= 9100".into(),
        expected: "true".into(),
        actual: "9096".into(),
        outcome: "not-met".into(),
    };
    let message = |id: u32, severity: u32| NewStatusMessage {
        message_id: id,
        severity,
        message_type: 256,
        component: "SMS_DMP_DOWNLOADER".into(),
        machine: "host".into(),
        site_code: "P01".into(),
        process_id: 1,
        recorded_at: at(i64::from(id)),
        text: "text".into(),
        insertion_strings: vec!["one".into()],
    };
    store
        .write_blocking::<_, StoreError>(|tx| {
            tx.record_conditions(PackageGuid(1), std::slice::from_ref(&condition))?;
            tx.record_status_message(&message(100, 0x4000_0000))?;
            tx.record_status_message(&message(11488, 0xC000_0000))
        })
        .unwrap();
    store
        .read_blocking::<_, StoreError>(|tx| {
            assert_eq!(tx.conditions(PackageGuid(1))?, [condition]);
            let filter = StatusFilter {
                severity: Some(0xC000_0000),
                ..Default::default()
            };
            assert_eq!(tx.status_messages(&filter, 10)?.len(), 1);
            let counts = tx.severity_counts("SMS_DMP_DOWNLOADER", at(0))?;
            assert_eq!((counts.informational, counts.error), (1, 1));
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_sign_in_brings_back_nothing_that_was_changed_meanwhile() {
    use crate::accounts::AccountRow;
    use domain::access::Access;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("site.db")).unwrap();
    let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
    let account = AccountRow {
        name: "mallory".into(),
        access: Access::FULL,
        password: "hash".into(),
        failures: 0,
        locked_until: None,
        created_at: at(0),
        signed_in_at: None,
        subject: None,
    };
    let write = |work: &dyn Fn(&crate::Tx<'_>)| {
        store
            .write_blocking::<_, StoreError>(|tx| {
                work(tx);
                Ok(())
            })
            .unwrap();
    };
    write(&|tx| {
        tx.record_account(&account).unwrap();
        // Another password was set while the old one was compared.
        assert!(!tx.account_signed_in("mallory", "other hash", at(1)).unwrap());
        assert!(tx.account_signed_in("mallory", "hash", at(1)).unwrap());
        // Failures count one by one, and a lock stands against the right password too.
        let counted = (0..5).map(|_| tx.count_wrong_password("mallory", at(0)).unwrap());
        assert_eq!(counted.collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        tx.lock_account("mallory", at(60)).unwrap();
        assert!(!tx.account_signed_in("mallory", "hash", at(59)).unwrap());
        // Long after the lock they are forgotten, once: who goes on guessing is counted again.
        let counted = (0..3).map(|_| tx.count_wrong_password("mallory", at(3660)).unwrap());
        assert_eq!(counted.collect::<Vec<_>>(), [1, 2, 3]);
        tx.remove_account("mallory").unwrap();
        tx.count_wrong_password("mallory", at(0)).unwrap();
        tx.lock_account("mallory", at(60)).unwrap();
        assert!(
            tx.account("mallory").unwrap().is_none(),
            "who was removed stays removed"
        );
    });
}
