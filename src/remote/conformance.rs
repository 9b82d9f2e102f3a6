//! What every remote must do, whichever it is.

use super::*;

fn name(text: &str) -> RemoteName {
    RemoteName::parse(text).unwrap()
}

/// Runs the suite below the folder `root`, which must be empty.
pub(crate) fn check(store: &dyn RemoteStore, root: &RemoteName) {
    let (first, second) = (root.join("aa").join("first"), root.join("bb").join("second"));
    assert_eq!(store.list(root, 10), Ok(Vec::new()), "a folder that is not there is empty");
    assert_eq!(store.get(&first, 10), Err(RemoteError::NotFound { name: first.clone() }));
    assert_eq!(store.delete(&first), Ok(()), "nothing to delete is no error");

    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    assert_eq!(store.put_new(&first, &bytes), Ok(Put::Created));
    assert_eq!(store.get(&first, 300_000).as_deref(), Ok(&*bytes));
    assert_eq!(
        store.get(&first, 299_999),
        Err(RemoteError::TooLong { name: first.clone(), limit: 299_999 }),
        "a limit is a limit"
    );
    assert_eq!(store.put_new(&second, b""), Ok(Put::Created));
    assert_eq!(store.get(&second, 0).as_deref(), Ok(&[][..]), "an object may be empty");

    let mut listed = store.list(root, 2).unwrap();
    listed.sort();
    let expected =
        [Listed { name: first.clone(), bytes: 300_000 }, Listed { name: second.clone(), bytes: 0 }];
    assert_eq!(listed, expected);
    assert_eq!(store.list(&root.join("aa"), 2).map(|listed| listed.len()), Ok(1));
    assert_eq!(store.list(&root.join("a"), 2), Ok(Vec::new()), "a folder is no prefix of names");

    // Where a taken name is told, what has it is untouched; where not, the newer bytes are there.
    match store.put_new(&first, b"other").unwrap() {
        Put::Exists => assert_eq!(store.get(&first, 300_000).as_deref(), Ok(&*bytes)),
        Put::Created => assert_eq!(store.get(&first, 300_000).as_deref(), Ok(&b"other"[..])),
    }
    assert_eq!(store.delete(&first), Ok(()));
    assert_eq!(store.delete(&second), Ok(()));
    assert_eq!(store.get(&first, 10), Err(RemoteError::NotFound { name: first.clone() }));
    assert_eq!(store.list(root, 10), Ok(Vec::new()));
    assert_eq!(store.put_new(&first, b"again"), Ok(Put::Created), "a deleted name is new again");
    assert_eq!(store.delete(&first), Ok(()));
}

#[test]
fn memory() {
    check(&MemoryStore::new(), &name("a/b"));
    check(&MemoryStore::overwriting(), &name("a/b"));
}

#[test]
fn directory() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = IoRuntime::start().unwrap();
    let uri: RemoteUri = format!("file://{}", directory.path().display()).parse().unwrap();
    check(&*uri.open(&runtime).unwrap(), &name("a/b"));
}

/// The remote at `TIDEGATE_TEST_REMOTE`.
#[test]
#[ignore = "needs a server, and its address in the environment"]
fn remote_of_the_environment() {
    let address = std::env::var("TIDEGATE_TEST_REMOTE").expect("TIDEGATE_TEST_REMOTE gives an address");
    let runtime = IoRuntime::start().unwrap();
    let uri: RemoteUri = address.parse().unwrap();
    let unique = format!("conformance-{}", std::process::id());
    check(&*uri.open(&runtime).unwrap(), &name(&unique));
}
