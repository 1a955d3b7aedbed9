//! Publish, publish again, withdraw, roll out, renew, rotate: what sites see after each.

use cloud::{CloudError, KeyRole, PublishRequest, Rollout, ServiceDir};
use domain::servicing::package::PackageGuid;
use feed::publisher::{OnlineRole, RoleState};
use jiff::Timestamp;

use crate::support::{GUID, OTHER, Vendor, days, now};

fn guid(text: &str) -> PackageGuid {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_site_reads_what_was_published() {
    let vendor = Vendor::new();
    std::fs::write(vendor.path().join("runtime.bin"), b"runtime").unwrap();
    let toml = vendor.description(
        GUID,
        "rings = [\"fast\"]",
        "[[redistributable]]\nfile = \"runtime.bin\"\n",
    );
    let report = vendor.publish(&toml, &vendor.payload("one", "hello")).unwrap();
    assert!(!report.already_published && report.new_packs == 1);
    assert_eq!(vendor.records().await, std::slice::from_ref(&report.record));

    let mut client = vendor.client().await;
    let payload = &report.record.payload;
    let index = client
        .find_target(&format!("payloads/{GUID}/index"), now())
        .await
        .unwrap();
    assert_eq!(
        (index.length, index.sha256.as_deref()),
        (payload.index_length, Some(&*payload.index_sha256))
    );
    client.fetch_target_bytes(&index, 1 << 20).await.unwrap();
    let runtime = client
        .find_target(&format!("redist/{GUID}/runtime.bin"), now())
        .await
        .unwrap();
    assert_eq!(
        client.fetch_target_bytes(&runtime, 100).await.unwrap(),
        b"runtime"
    );
    // Nothing unfinished is left behind.
    let scratch: Vec<_> = std::fs::read_dir(vendor.dir().join("scratch")).unwrap().collect();
    assert_eq!(scratch.len(), 1, "only the lock: {scratch:?}");
}

#[tokio::test]
async fn the_same_again_changes_nothing_and_other_content_is_refused() {
    let vendor = Vendor::new();
    let toml = vendor.description(GUID, "", "");
    let payload = vendor.payload("one", "hello");
    // Something to share content with, so that the first index is not alone in the feed.
    vendor
        .publish(
            &vendor.description(OTHER, "", ""),
            &vendor.payload("other", "hello"),
        )
        .unwrap();
    let first = vendor.publish(&toml, &payload).unwrap();
    let before = vendor.state();
    let again = vendor.publish(&toml, &payload).unwrap();
    assert!(again.already_published);
    assert_eq!(again.record, first.record);
    assert!(matches!(
        vendor.publish(&toml, &vendor.payload("two", "other")),
        Err(CloudError::DifferentContent { .. })
    ));
    let changed = vendor.description(GUID, "client-version = \"5\"", "");
    assert!(matches!(
        vendor.publish(&changed, &payload),
        Err(CloudError::DifferentContent { .. })
    ));
    assert_eq!(vendor.state(), before);
}

#[test]
fn a_later_version_from_the_same_folder_reads_what_was_touched() {
    let vendor = Vendor::new();
    let payload = vendor.payload("build", "hello");
    let touched = std::fs::metadata(payload.join("share/text")).unwrap();
    let changed = std::os::unix::fs::MetadataExt::ctime(&touched);
    let publish = |guid: &str, reread: bool| {
        let request = PublishRequest {
            reread,
            ..PublishRequest::new(vendor.dir(), vendor.description(guid, "", ""), &payload)
        };
        // Long enough after the last change, and before the next one.
        let later = Timestamp::from_second(changed + 60).unwrap();
        let report = cloud::publish(&request, later, &mut |_| {}).unwrap();
        assert_eq!(report.note, None);
        (report.already_published, report.read_files, report.read_bytes)
    };
    assert_eq!(publish(GUID, false), (false, 2, 15));
    assert_eq!(publish(GUID, false), (true, 0, 0));
    std::fs::write(payload.join("share/text"), "hello again").unwrap();
    assert_eq!(publish(OTHER, false), (false, 1, 11));
    assert_eq!(publish(OTHER, true), (true, 2, 21));
    let kept = std::fs::read_dir(ServiceDir::new(vendor.dir()).known_files()).unwrap();
    assert_eq!(kept.count(), 1);
}

#[test]
fn deltas_from_nothing_are_taken_over_while_most_content_stays() {
    let vendor = Vendor::new();
    let publish = |number: u32, first: u32, text: &str| {
        let payload = vendor.payload(&format!("v{number}"), text);
        let numbers: Vec<u8> = (first..first + 100_000).flat_map(u32::to_le_bytes).collect();
        std::fs::write(payload.join("numbers"), numbers).unwrap();
        let guid = GUID.replacen('8', &number.to_string(), 1);
        let toml = vendor.description(&guid, "", "");
        let description = std::fs::read_to_string(&toml).unwrap();
        std::fs::write(&toml, description.replace("9106", &format!("910{number}"))).unwrap();
        let report = vendor.publish(&toml, &payload).unwrap();
        let deltas = report.record.payload.deltas.into_iter();
        let from_nothing: Vec<_> = deltas.filter(|delta| delta.base.is_none()).collect();
        (from_nothing, report.new_bytes)
    };
    let (first, whole) = publish(1, 0, "one");
    assert_eq!(first.len(), 1);
    let (second, added) = publish(2, 0, "two");
    assert_eq!(second[..1], first[..]);
    assert!(added * 20 < whole, "{added} of {whole}");
    // What is mostly new has its own.
    let (third, _) = publish(3, 7_000_000, "two");
    assert_eq!(third.len(), 1);
    assert!(!second.contains(&third[0]));
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_nothing_changes() {
    let vendor = Vendor::new();
    let payload = vendor.payload("one", "hello");
    let metadata = || std::fs::read(vendor.repository().join("metadata/timestamp.json")).unwrap();
    let before = metadata();
    for (keys, tables, expected) in [
        ("impact = 3", "", ":5:10: impact is a list"),
        (
            "",
            "[[install.after]]\nprogram = \"bin/none\"",
            ":13:11: \"bin/none\" is no executable file",
        ),
        (
            "",
            "[[install.after]]\nprogram = \"share/text\"",
            ":13:11: \"share/text\" is no executable file",
        ),
        (
            "",
            "[[redistributable]]\nfile = \"none.bin\"",
            ":13:8: could not open",
        ),
        ("applicability = \"1 +\"", "", ":5:"),
    ] {
        let toml = vendor.description(GUID, keys, tables);
        match vendor.publish(&toml, &payload) {
            Err(CloudError::PackageToml(error)) => {
                let text = error.to_string();
                assert!(
                    text.starts_with(&format!("{}{expected}", toml.display())),
                    "{text}"
                );
            }
            other => panic!("{keys} {tables}: {other:?}"),
        }
    }
    assert_eq!(metadata(), before);
    assert!(vendor.records().await.is_empty());
}

#[tokio::test]
async fn a_withdrawn_package_says_why_and_stays_withdrawn() {
    let vendor = Vendor::new();
    let toml = vendor.description(GUID, "", "");
    let payload = vendor.payload("one", "hello");
    vendor.publish(&toml, &payload).unwrap();
    assert!(cloud::rollout(&vendor.dir(), guid(GUID), &Rollout::share(10), now()).unwrap());
    assert!(!cloud::rollout(&vendor.dir(), guid(GUID), &Rollout::share(10), now()).unwrap());
    assert_eq!(vendor.records().await[0].rollout_percent, 10);
    let when = |rule: &str| Rollout {
        percent: None,
        when: Some(Some(rule.to_owned())),
    };
    assert!(cloud::rollout(&vendor.dir(), guid(GUID), &when("inventory.devices < 50"), now()).unwrap());
    let refused = cloud::rollout(&vendor.dir(), guid(GUID), &when("moon.phase == 1"), now()).unwrap_err();
    assert!(refused.to_string().contains("no fact moon.phase"), "{refused}");
    let record = vendor.records().await.remove(0);
    assert_eq!(
        (record.rollout_percent, record.rollout_when.as_deref()),
        (10, Some("inventory.devices < 50"))
    );
    // The rollout is not part of what makes a package the same.
    assert!(vendor.publish(&toml, &payload).unwrap().already_published);
    assert!(cloud::withdraw(&vendor.dir(), guid(GUID), "breaks reports", now()).unwrap());
    assert_eq!(
        vendor.records().await[0].withdrawn.as_deref(),
        Some("breaks reports")
    );
    assert!(matches!(
        vendor.publish(&toml, &payload),
        Err(CloudError::Withdrawn { .. })
    ));
    assert!(matches!(
        cloud::rollout(&vendor.dir(), guid(GUID), &Rollout::share(20), now()),
        Err(CloudError::Withdrawn { .. })
    ));
    let other = cloud::withdraw(&vendor.dir(), guid(OTHER), "x", now());
    assert!(matches!(other, Err(CloudError::NoSuchPackage { .. })));
}

#[tokio::test]
async fn a_crash_before_the_commit_leaves_the_feed_as_it_was() {
    let vendor = Vendor::new();
    let toml = vendor.description(GUID, "", "");
    let payload = vendor.payload("one", "hello");
    // What a crash leaves: content without metadata, a half-written file, a work folder.
    let targets = vendor.repository().join("targets");
    std::fs::create_dir_all(targets.join("packs")).unwrap();
    std::fs::write(targets.join("packs/.unfinished-x"), b"half").unwrap();
    std::fs::create_dir_all(vendor.dir().join("scratch").join(GUID)).unwrap();
    std::fs::write(vendor.dir().join("scratch").join(GUID).join("index"), b"half").unwrap();
    assert!(vendor.records().await.is_empty());
    vendor.publish(&toml, &payload).unwrap();
    assert_eq!(vendor.records().await.len(), 1);
}

#[tokio::test]
async fn keys_are_renewed_and_rotated() {
    let vendor = Vendor::new();
    vendor
        .publish(&vendor.description(GUID, "", ""), &vendor.payload("one", "hello"))
        .unwrap();
    let status = cloud::keys(&vendor.dir(), now()).unwrap();
    assert_eq!(status.len(), 5);
    assert!(status.iter().all(|row| row.state == RoleState::Valid));
    assert_eq!(
        (status[0].role.as_str(), status[0].threshold, status[0].keys.len()),
        ("root", 2, 3)
    );
    let late = cloud::keys(&vendor.dir(), days(8)).unwrap();
    assert_eq!(late.last().map(|row| row.state), Some(RoleState::Expired));
    let before = cloud::renew(&vendor.dir(), now()).unwrap().committed.timestamp;
    for role in [
        KeyRole::Online(OnlineRole::Publisher),
        KeyRole::Online(OnlineRole::Timestamp),
        KeyRole::Root,
    ] {
        assert_eq!(
            cloud::rotate_key(&vendor.dir(), role, None, now()).unwrap().len(),
            1,
            "{role:?}"
        );
    }
    assert_eq!(vendor.records().await.len(), 1);
    assert!(cloud::renew(&vendor.dir(), now()).unwrap().committed.timestamp > before);
}

#[tokio::test]
async fn a_served_feed_is_kept_fresh_and_only_when_it_is_due() {
    let vendor = Vendor::new();
    let timestamp = || cloud::keys(&vendor.dir(), days(6)).unwrap().pop().unwrap();
    // Cancelled from the start: it looks once and ends.
    let shutdown = tokio_util::sync::CancellationToken::new();
    shutdown.cancel();
    cloud::keep_fresh(vendor.dir(), now, shutdown.clone()).await;
    assert_eq!(
        (timestamp().version, timestamp().state),
        (1, RoleState::RenewSoon)
    );
    cloud::keep_fresh(vendor.dir(), || days(6), shutdown.clone()).await;
    assert_eq!((timestamp().version, timestamp().state), (2, RoleState::Valid));
    // Without keys there is nothing to keep fresh.
    std::fs::remove_dir_all(vendor.dir().join("keys")).unwrap();
    cloud::keep_fresh(
        vendor.dir(),
        || days(60),
        tokio_util::sync::CancellationToken::new(),
    )
    .await;
}

#[test]
fn one_publisher_at_a_time_and_one_service_in_a_folder() {
    let vendor = Vendor::new();
    let held = std::fs::File::open(vendor.dir().join("scratch"))
        .and_then(|_| std::fs::File::create(vendor.dir().join("scratch/publish.lock")));
    held.as_ref().unwrap().lock().unwrap();
    let refused = vendor.publish(&vendor.description(GUID, "", ""), &vendor.payload("one", "hello"));
    assert!(matches!(refused, Err(CloudError::Busy { .. })), "{refused:?}");
    let again = cloud::init(&cloud::InitOptions::new(vendor.dir(), "Other"), now());
    assert!(matches!(again, Err(CloudError::AlreadyInitialised { .. })));
    assert!(matches!(
        cloud::keys(&vendor.path().join("elsewhere"), now()),
        Err(CloudError::NotInitialised { .. })
    ));
}
