//! curl, the client that most callers resemble; also our HTTP/2 client.

use crate::message::Head;
use crate::{Answer, Certificate, run};
use std::process::Command;

/// As [`curl`], over TLS, with this certificate or none. Whoever answers is not verified.
#[track_caller]
pub fn curl_as(certificate: Option<&Certificate>, args: &[&str]) -> Answer {
    let shown = certificate.map(|own| ["--cert", own.cert.to_str().unwrap(), "--key", own.key.to_str().unwrap()]);
    curl(&[args, &["--insecure"], shown.as_ref().map_or(&[], |shown| shown)].concat())
}

/// Runs curl and returns the answer; a curl that cannot finish its request fails the test.
#[track_caller]
pub fn curl(args: &[&str]) -> Answer {
    // `--disable` must come first: the caller's own curl settings are no part of a test.
    let fixed = ["--disable", "--silent", "--show-error", "--include", "--noproxy", "*", "--max-time", "60"];
    let finished = run(Command::new("curl").args(fixed).args(args));
    assert_eq!(finished.code, Some(0), "curl {args:?}: {}", finished.stderr);
    let mut rest = &finished.stdout[..];
    loop {
        let head = Head::read(&mut rest).unwrap().unwrap_or_else(|| panic!("curl {args:?} printed nothing"));
        let answer = Answer::of_head(&head).unwrap();
        // curl also prints the interim answers (1xx) that came before the answer.
        if answer.status >= 200 || answer.status == 101 {
            return Answer { body: rest.to_vec(), ..answer };
        }
    }
}
