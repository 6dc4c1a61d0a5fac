//! The configuration as text: what each route becomes.

use chat_events::Service;

use super::*;

fn site() -> Site {
    Site {
        port: 8080,
        client: Some("/srv/client".into()),
        upstreams: Service::ALL
            .map(|service| (service, vec![1000, 1001]))
            .to_vec(),
        doors: vec![(Service::Auth, 1002)],
        as_root: false,
    }
}

/// The block that follows a line.
fn block<'a>(config: &'a str, head: &str) -> &'a str {
    let (_, rest) = config.split_once(&format!("{head} {{\n")).expect(head);
    rest.split_once("\n    }").expect("the end of the block").0
}

#[test]
fn each_route_matches_whole_segments_alone() {
    let config = site().config();
    for route in ROUTES {
        let Backend::Service(service) = route.backend else {
            continue;
        };
        for head in [
            format!("location = {}", route.prefix),
            format!("location ^~ {}/", route.prefix),
        ] {
            let block = block(&config, &head);
            assert!(
                block.contains(&format!("proxy_pass http://{};", service.name())),
                "{head}"
            );
            assert_eq!(
                block.contains("proxy_read_timeout 3600s;"),
                route.socket,
                "{head}"
            );
            assert_eq!(
                block.contains("proxy_buffering off;"),
                route.socket,
                "{head}"
            );
            assert_eq!(
                block.contains("Upgrade $http_upgrade"),
                route.socket,
                "{head}"
            );
        }
    }
}

#[test]
fn every_pod_is_in_the_upstream_of_its_service() {
    let config = site().config();
    for service in Service::ALL {
        let (_, rest) = config
            .split_once(&format!("upstream {} {{", service.name()))
            .expect("an upstream");
        let (upstream, _) = rest.split_once('}').expect("the end of the block");
        for port in [1000, 1001] {
            assert!(
                upstream.contains(&format!("server 127.0.0.1:{port} ")),
                "{upstream}"
            );
        }
    }
}

#[test]
fn pages_carry_the_whole_policy_and_assets_are_kept_for_ever() {
    let config = site().config();
    for head in ["location /", "location ^~ /assets/"] {
        let block = block(&config, head);
        assert!(block.contains(CSP), "{block}");
        assert!(
            block.contains("Cross-Origin-Opener-Policy \"same-origin\" always"),
            "{block}"
        );
    }
    assert!(block(&config, "location ^~ /assets/").contains("immutable"));
    assert!(block(&config, "location /").contains("no-cache"));
    assert!(!config.contains("Strict-Transport-Security"));
}

#[test]
fn nothing_listens_beyond_the_loopback() {
    let config = site().config();
    let listens: Vec<_> = config
        .lines()
        .filter(|line| line.contains("listen "))
        .collect();
    assert_eq!(listens.len(), 2);
    assert!(
        listens
            .iter()
            .all(|line| line.contains("listen 127.0.0.1:")),
        "{listens:?}"
    );
}

#[test]
fn a_pod_is_asked_however_often_it_failed() {
    let config = site().config();
    let is_server = |line: &&str| line.trim_start().starts_with("server 127.0.0.1:");
    let servers: Vec<_> = config.lines().filter(is_server).collect();
    assert!(!servers.is_empty());
    for server in servers {
        assert!(server.contains(" max_fails=0;"), "{server}");
    }
}
