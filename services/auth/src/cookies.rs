//! The two cookies of a session.

use axum::http::{HeaderMap, HeaderValue, header};
use axum_extra::extract::CookieJar;
use chat_events::limits;
use chat_kit::identity::access_cookie;

#[derive(Clone, Copy)]
pub struct Cookies {
    secure: bool,
}

impl Cookies {
    pub const fn new(secure: bool) -> Self {
        Self { secure }
    }

    const fn refresh_name(self) -> &'static str {
        if self.secure {
            "__Host-refresh"
        } else {
            "refresh"
        }
    }

    pub fn access(self, headers: &HeaderMap) -> Option<String> {
        read(headers, access_cookie(self.secure))
    }

    pub fn refresh(self, headers: &HeaderMap) -> Option<String> {
        read(headers, self.refresh_name())
    }

    /// Both values are base64url and dots: nothing in them has to be quoted.
    pub fn set(self, access: &str, refresh: &str) -> HeaderMap {
        let access_life = limits::ACCESS_TOKEN.as_secs();
        let refresh_life = limits::REFRESH_IDLE.as_secs();
        self.headers([
            format!(
                "{}={access}; SameSite=Lax; Max-Age={access_life}",
                access_cookie(self.secure)
            ),
            format!(
                "{}={refresh}; SameSite=Strict; Max-Age={refresh_life}",
                self.refresh_name()
            ),
        ])
    }

    pub fn clear(self) -> HeaderMap {
        self.headers([
            format!("{}=; SameSite=Lax; Max-Age=0", access_cookie(self.secure)),
            format!("{}=; SameSite=Strict; Max-Age=0", self.refresh_name()),
        ])
    }

    fn headers(self, cookies: [String; 2]) -> HeaderMap {
        let secure = if self.secure { "; Secure" } else { "" };
        cookies
            .into_iter()
            .filter_map(|cookie| {
                HeaderValue::try_from(format!("{cookie}; Path=/; HttpOnly{secure}")).ok()
            })
            .map(|value| (header::SET_COOKIE, value))
            .fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            })
    }
}

fn read(headers: &HeaderMap, name: &str) -> Option<String> {
    let jar = CookieJar::from_headers(headers);
    jar.get(name).map(|cookie| cookie.value().to_owned())
}

#[cfg(test)]
mod tests {
    use super::Cookies;

    fn lines(secure: bool) -> Vec<String> {
        let headers = Cookies::new(secure).set("aaa", "rrr");
        headers
            .get_all("set-cookie")
            .iter()
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .collect()
    }

    #[test]
    fn over_https_cookies_are_secure_and_bound_to_the_host() {
        assert_eq!(
            lines(true),
            [
                "__Host-auth=aaa; SameSite=Lax; Max-Age=600; Path=/; HttpOnly; Secure",
                "__Host-refresh=rrr; SameSite=Strict; Max-Age=604800; Path=/; HttpOnly; Secure",
            ]
        );
    }

    #[test]
    fn over_http_they_have_plain_names_and_are_as_strict_as_they_can_be() {
        assert_eq!(
            lines(false),
            [
                "auth=aaa; SameSite=Lax; Max-Age=600; Path=/; HttpOnly",
                "refresh=rrr; SameSite=Strict; Max-Age=604800; Path=/; HttpOnly",
            ]
        );
    }
}
