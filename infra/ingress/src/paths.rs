//! What a path of an Ingress is for NGINX.

/// The locations of a path. A prefix ends where an element of the path does:
/// `/ws` has `/ws` and `/ws/chat`, and not `/wsx`.
pub fn locations(path: &str, kind: &str) -> Option<Vec<String>> {
    if !is_plain(path) {
        return None;
    }
    let prefix = path.trim_end_matches('/');
    Some(match kind {
        "Exact" => vec![format!("= {path}")],
        _ if prefix.is_empty() => vec!["/".into()],
        _ => vec![format!("= {prefix}"), format!("{prefix}/")],
    })
}

/// Nothing that would end a word of the configuration.
fn is_plain(path: &str) -> bool {
    let known = |it: char| it.is_ascii_alphanumeric() || "/-._~:@%+,".contains(it);
    path.starts_with('/') && path.chars().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_an_element_of_the_path_does() {
        let of = |path, kind| locations(path, kind).unwrap_or_default();
        assert_eq!(of("/", "Prefix"), ["/"]);
        assert_eq!(of("/ws", "Prefix"), ["= /ws", "/ws/"]);
        assert_eq!(of("/ws/", "Prefix"), ["= /ws", "/ws/"]);
        assert_eq!(of("/ws", "Exact"), ["= /ws"]);
    }

    #[test]
    fn a_path_cannot_say_anything_else() {
        for path in ["", "ws", "/a b", "/a;", "/a{", "/a}", "/a\n", "/$a", "/\"a"] {
            assert_eq!(locations(path, "Prefix"), None, "{path:?}");
        }
    }
}
