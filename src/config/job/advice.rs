//! What to do about keys that people try and that are refused for a reason.

/// Why a section has no such key, and what to give instead.
pub(super) fn on_key(section: &str, key: &str) -> Option<&'static str> {
    Some(match (section, key) {
        ("source" | "sink", "password" | "user" | "username" | "password-file" | "token" | "credentials") => {
            "secrets stay out of the job file: write the user on the first line and the password on the second line of a \
             file, `chmod 600` it, and give `credentials-file`"
        }
        ("checkpoint", "key" | "encryption-key" | "password" | "secret" | "token") => {
            "secrets stay out of the job file: write 64 hexadecimal digits to a file (`openssl rand -hex 32`), `chmod 600` \
             it, and give `key-file` or `encryption-key-file`"
        }
        ("checkpoint", "take-over" | "accept-rollback" | "min-generation") => {
            "this is decided for one start, not for each: give it to `tidegate run` as a flag"
        }
        ("checkpoint", "directory") => "checkpoints lie in the `directory` of [state]",
        ("source", "topic") => "a source may have several: give `topics`",
        ("source", "path") => {
            "the paths of columns are the table [source.paths]; a file is the `path` of type file"
        }
        ("source", "columns" | "fields" | "mapping") => {
            "give the table [source.paths]: column = \"path.in.the.json\""
        }
        ("query", "parallelism") => "parallelism is the whole job's: give it in [job]",
        ("query", "from" | "to" | "sink") => {
            "a query names its input in its SQL, and a sink names its query with `from`"
        }
        _ => return None,
    })
}

/// Whether the value of such a key is not to be shown.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let names = ["password", "passwd", "secret", "token", "credential"];
    let is_named = names.iter().any(|name| key.contains(name)) || key == "key" || key.ends_with("-key");
    is_named && !key.ends_with("-file")
}

/// What a key that must be a table is for.
pub(super) fn on_table(key: &str) -> String {
    match key {
        "paths" => "write `[source.paths]` and below it `column = \"path.in.the.json\"`".to_owned(),
        key => format!("write `[{key}]`"),
    }
}
