//! The packing of container images: the same files give the same image, and the image is restricted and labelled.
//! `make image-test` checks the images of real programs.

// Clippy does not recognize the functions below the tests as tests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::{Value, json};
use serverprotection_tests::binaries;
use std::{
    fs::{self, File, FileTimes, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, SystemTime},
};

/// The time of the commit, in seconds since 1970 and as text.
const EPOCH: (&str, &str) = ("1767225600", "2026-01-01T00:00:00Z");

#[test]
fn the_same_files_give_the_same_image_everywhere() {
    let work = tempfile::tempdir().unwrap();
    let first = work.path().join("first");
    files(&first, 0o755, 0o644, Duration::from_secs(1));
    // Another folder, written at another time and in another order, by somebody with another umask.
    let second = work.path().join("a/much/longer/path/second");
    fs::create_dir_all(second.join("usr/bin")).unwrap();
    fs::create_dir(second.join("etc")).unwrap();
    files(&second, 0o700, 0o600, Duration::from_secs(2_000_000_000));
    let one = packed(&first, &[("TZ", "UTC"), ("LC_ALL", "C")], &[]);
    let two = packed(
        &second,
        &[("TZ", "Asia/Tokyo"), ("LC_ALL", "C.UTF-8"), ("GZIP", "-1")],
        &[],
    );
    assert_eq!(one.archive, two.archive);
}

#[test]
fn every_change_of_a_file_changes_the_image() {
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("root");
    files(&root, 0o755, 0o644, Duration::ZERO);
    let mut digests = vec![packed(&root, &[], &[]).digest];
    fs::write(root.join("etc/hosts"), "b").unwrap();
    digests.push(packed(&root, &[], &[]).digest);
    fs::set_permissions(root.join("etc/hosts"), Permissions::from_mode(0o755)).unwrap();
    digests.push(packed(&root, &[], &[]).digest);
    fs::rename(root.join("etc/hosts"), root.join("etc/host")).unwrap();
    digests.push(packed(&root, &[], &[]).digest);
    fs::remove_file(root.join("lib")).unwrap();
    symlink("usr/lib32", root.join("lib")).unwrap();
    digests.push(packed(&root, &[], &[]).digest);
    digests.push(packed(&root, &[], &["--label", "org.opencontainers.image.version=2"]).digest);
    let count = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), count, "{digests:?}");
}

#[test]
fn root_owns_all_files_and_none_is_setuid() {
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("root");
    files(&root, 0o755, 0o644, Duration::ZERO);
    fs::set_permissions(root.join("usr/bin/program"), Permissions::from_mode(0o6777)).unwrap();
    let image = packed(&root, &[], &[]);
    let layer = image.blob(&image.manifest["layers"][0]);
    let listed = run(Command::new("tar")
        .args([
            "--list",
            "--verbose",
            "--numeric-owner",
            "--full-time",
            "--utc",
            "--file",
        ])
        .arg(layer));
    let expected = "\
        drwxr-xr-x 0/0 0 2026-01-01 00:00:00 etc/\n\
        -rw-r--r-- 0/0 1 2026-01-01 00:00:00 etc/hosts\n\
        lrwxrwxrwx 0/0 0 2026-01-01 00:00:00 lib -> usr/lib\n\
        drwxr-xr-x 0/0 0 2026-01-01 00:00:00 usr/\n\
        drwxr-xr-x 0/0 0 2026-01-01 00:00:00 usr/bin/\n\
        -rwxr-xr-x 0/0 7 2026-01-01 00:00:00 usr/bin/program\n";
    let listed = String::from_utf8(listed.stdout).unwrap();
    let columns: Vec<Vec<_>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let expected: Vec<Vec<_>> = expected
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(columns, expected);
}

#[test]
fn the_configuration_is_that_of_a_restricted_program() {
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("root");
    files(&root, 0o755, 0o644, Duration::ZERO);
    let image = packed(&root, &[], &["--label", "org.opencontainers.image.version=1"]);
    let config = json(&image.blob(&image.manifest["config"]));
    let labels = json!({
        "org.opencontainers.image.created": EPOCH.1,
        "org.opencontainers.image.version": "1",
    });
    assert_eq!(
        config["config"],
        json!({
            "User": "65532:65532",
            "Entrypoint": ["/usr/bin/program"],
            "Env": ["PATH=/usr/bin"],
            "WorkingDir": "/",
            "Labels": labels,
        })
    );
    assert_eq!(
        (&config["architecture"], &config["os"]),
        (&json!("amd64"), &json!("linux"))
    );
    assert_eq!(config["created"], EPOCH.1);
    assert_eq!(image.manifest["annotations"], labels);
    // What `ctr images import` and `skopeo copy` call it.
    let names = &image.index["manifests"][0]["annotations"];
    assert_eq!(names["io.containerd.image.name"], "localhost/program:v1");
    assert_eq!(names["org.opencontainers.image.ref.name"], "v1");
}

#[test]
fn an_image_that_is_too_large_is_refused() {
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("root");
    files(&root, 0o755, 0o644, Duration::ZERO);
    let archive = work.path().join("image.tar");
    let output = pack(&root, &archive).args(["--limit", "100"]).output().unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("more than the limit of 100"), "{message}");
    assert!(!archive.exists());
}

#[test]
fn both_architectures_have_all_packages_at_the_same_version() {
    let lock = fs::read_to_string(binaries::root().join("deploy/image/packages.lock")).unwrap();
    let of = |architecture: &str| -> Vec<(String, String)> {
        lock.lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .filter(|row| row.first().is_some_and(|of| [architecture, "all"].contains(of)))
            .map(|row| {
                let [_, package, version, sha256, path] = row[..] else {
                    panic!("{row:?}");
                };
                assert_eq!(sha256.len(), 64, "{row:?}");
                assert!(path.contains(&format!("/{package}_{version}_")), "{row:?}");
                (package.to_owned(), version.to_owned())
            })
            .collect()
    };
    let packages = of("amd64");
    assert_eq!(packages, of("arm64"));
    let names: Vec<_> = packages.iter().map(|(package, _)| package.as_str()).collect();
    assert_eq!(names, ["libc6", "libgcc-s1", "ca-certificates"]);
}

#[test]
fn the_bill_of_materials_has_what_is_linked_and_nothing_else() {
    let bill = bill("serverprotection-cli");
    let components = bill["components"].as_array().unwrap();
    let names: Vec<_> = components
        .iter()
        .map(|component| component["name"].as_str().unwrap())
        .collect();
    for linked in [
        "serverprotection-core",
        "tokio",
        "aws-lc-sys",
        "libc6",
        "libgcc-s1",
        "ca-certificates",
    ] {
        assert!(names.contains(&linked), "{linked}");
    }
    // A dependency of tests, a macro, and programs that are not in the image.
    for other in [
        "proptest",
        "serde_derive",
        "serverprotection-emulator",
        "serverprotection-xtask",
    ] {
        assert!(!names.contains(&other), "{other}");
    }
    let references: Vec<_> = components.iter().map(|component| &component["bom-ref"]).collect();
    for component in components {
        let name = component["name"].as_str().unwrap();
        assert_eq!(
            component["hashes"].is_array(),
            !name.starts_with("serverprotection-"),
            "{name}"
        );
        assert!(component["licenses"][0]["expression"].is_string(), "{name}");
    }
    let subject = &bill["metadata"]["component"]["bom-ref"];
    for dependency in bill["dependencies"].as_array().unwrap() {
        for used in dependency["dependsOn"].as_array().into_iter().flatten() {
            assert!(references.contains(&used), "{used}");
        }
        assert!(
            &dependency["ref"] == subject || references.contains(&&dependency["ref"]),
            "{dependency}"
        );
    }
    assert!(
        !bill.to_string().contains(env!("CARGO_MANIFEST_DIR")),
        "no path of this machine"
    );
    assert_eq!(bill["metadata"]["timestamp"], EPOCH.1);
}

/// The bill of materials of a crate's program.
fn bill(package: &str) -> Value {
    let output = run(python("sbom.py")
        .args(["--package", package, "--target", "x86_64-unknown-linux-gnu"])
        .args(["--architecture", "amd64", "--epoch", EPOCH.0]));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Writes the files of a small image with these modes and times.
fn files(root: &Path, executable: u32, other: u32, time: Duration) {
    for folder in ["usr/bin", "etc"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    symlink("usr/lib", root.join("lib")).unwrap();
    for (name, content, mode) in [
        ("usr/bin/program", "program", executable),
        ("etc/hosts", "a", other),
    ] {
        fs::write(root.join(name), content).unwrap();
        fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap();
    }
    for folder in ["usr/bin", "usr", "etc"] {
        fs::set_permissions(root.join(folder), Permissions::from_mode(executable)).unwrap();
    }
    for name in ["usr/bin/program", "etc/hosts", "usr/bin", "usr", "etc"] {
        let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + time);
        File::open(root.join(name)).unwrap().set_times(times).unwrap();
    }
}

struct Image {
    archive: Vec<u8>,
    digest: String,
    index: Value,
    manifest: Value,
    /// The unpacked archive.
    layout: tempfile::TempDir,
}

impl Image {
    fn blob(&self, descriptor: &Value) -> PathBuf {
        blob(self.layout.path(), descriptor)
    }
}

/// Path of a blob, whose content must have the size and the sha256 of its descriptor.
fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().unwrap();
    let path = layout.join("blobs").join(digest.replace(':', "/"));
    let sum = run(Command::new("sha256sum").arg(&path));
    assert!(
        String::from_utf8(sum.stdout)
            .unwrap()
            .starts_with(&digest["sha256:".len()..])
    );
    assert_eq!(
        fs::metadata(&path).unwrap().len(),
        descriptor["size"].as_u64().unwrap()
    );
    path
}

fn packed(root: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Image {
    let layout = tempfile::tempdir().unwrap();
    let archive = layout.path().join("image.tar");
    run(pack(root, &archive)
        .args(arguments)
        .envs(environment.iter().copied()));
    run(Command::new("tar")
        .arg("--extract")
        .arg("--directory")
        .arg(layout.path())
        .arg("--file")
        .arg(&archive));
    let index = json(&layout.path().join("index.json"));
    let descriptor = &index["manifests"][0];
    Image {
        archive: fs::read(&archive).unwrap(),
        digest: descriptor["digest"].as_str().unwrap().to_owned(),
        manifest: json(&blob(layout.path(), descriptor)),
        index,
        layout,
    }
}

fn pack(root: &Path, archive: &Path) -> Command {
    let mut command = python("pack.py");
    command.arg("--root").arg(root).arg("--output").arg(archive);
    command.args(["--reference", "localhost/program:v1", "--architecture", "amd64"]);
    command.args(["--epoch", EPOCH.0, "--entrypoint", "/usr/bin/program"]);
    command
}

fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command
        .arg("-B")
        .arg(binaries::root().join("deploy/image").join(script));
    command
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
