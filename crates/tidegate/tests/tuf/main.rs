//! `tidegate tuf` in process: a folder repository from init to download, and the ways to call it wrongly.

#[path = "../../src/commands/tuf.rs"]
mod tuf;

use std::path::Path;

use clap::Parser;
use feed::publisher::{InitSpec, Publisher, TargetRecord};
use jiff::Timestamp;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};
use tuf::TufArgs;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    tuf: TufArgs,
}

async fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let arguments = std::iter::once("tuf").chain(arguments.iter().copied());
    let mut args = Cli::try_parse_from(arguments)?.tuf;
    args.quiet = true;
    tuf::run(args).await
}

fn publish(folder: &Path, targets: &[&str]) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the command looks at the clock, so what it reads must be valid now"
    )]
    let now = Timestamp::now();
    let mut publisher = Publisher::init(
        &folder.join("feed"),
        &folder.join("keys"),
        &folder.join("root"),
        &InitSpec {
            bins: 4,
            ..InitSpec::default()
        },
        &mut ChaCha20Rng::seed_from_u64(3),
        now,
    )
    .unwrap();
    for path in targets {
        let sha256 = hex::encode(Sha256::digest(path));
        let file = publisher.target_file(path, &sha256);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, path).unwrap();
        let record = TargetRecord {
            length: path.len() as u64,
            sha256,
            custom: None,
        };
        publisher.set_target(path, &record).unwrap();
    }
    publisher.commit(now).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn from_init_to_download() {
    let folder = tempfile::tempdir().unwrap();
    publish(folder.path(), &["path/to/a file.txt", "b"]);
    let text = |name: &str| folder.path().join(name).display().to_string();
    let url = |name: &str| format!("file://{}", text(name));
    let (trust, files, root) = (text("trust"), text("files"), text("feed/metadata/1.root.json"));
    let (metadata, targets) = (url("feed/metadata"), url("feed/targets"));

    let error = run(&["--metadata-dir", &trust, "--metadata-url", &metadata, "refresh"])
        .await
        .unwrap_err();
    assert!(error.to_string().starts_with("no trusted root in"), "{error}");
    run(&["--metadata-dir", &trust, "init", &root]).await.unwrap();
    run(&["refresh", "--metadata-dir", &trust, "--metadata-url", &metadata])
        .await
        .unwrap();
    run(&[
        "--metadata-dir",
        &trust,
        "--metadata-url",
        &metadata,
        "--target-name",
        "path/to/a file.txt",
        "--target-dir",
        &files,
        "download",
        "--target-base-url",
        &targets,
        "--target-name",
        "b",
    ])
    .await
    .unwrap();
    assert_eq!(names(Path::new(&files)), ["b", "path%2Fto%2Fa%20file.txt"]);
    assert_eq!(std::fs::read(Path::new(&files).join("b")).unwrap(), b"b");
    let stored = names(Path::new(&trust));
    let stored: Vec<&String> = stored.iter().filter(|name| name.ends_with(".json")).collect();
    assert!(stored.len() >= 5, "{stored:?}");
    assert_eq!(
        std::fs::read(Path::new(&trust).join("root.json")).unwrap(),
        std::fs::read(&root).unwrap()
    );

    let missing = run(&[
        "--metadata-dir",
        &trust,
        "--metadata-url",
        &metadata,
        "--target-name",
        "missing",
        "--target-dir",
        &files,
        "--target-base-url",
        &targets,
        "--target-name",
        "b",
        "download",
    ])
    .await
    .unwrap_err();
    assert!(
        format!("{missing:#}").contains("the feed has no target \"missing\""),
        "{missing:#}"
    );
}

#[tokio::test]
async fn wrong_usage() {
    for arguments in [
        &["refresh"][..],
        &["--metadata-dir", "x", "init"],
        &["--metadata-dir", "x", "refresh"],
        &[
            "--metadata-dir",
            "x",
            "--metadata-url",
            "file:///x",
            "refresh",
            "extra",
        ],
        &["--metadata-dir", "x", "--metadata-url", "file:///x", "download"],
        &["--metadata-dir", "x", "--frobnicate", "refresh"],
        &["--metadata-dir", "x", "frobnicate"],
        &[],
    ] {
        assert!(run(arguments).await.is_err(), "{arguments:?}");
    }
}
