//! `match` with lists, `any_of` and `none_of`: in a put, on the command line and in the line.

use serde_json::{Value, json};
use support::remote::Hand;
use support::{Pool, Step, TestRemote, wait_until};

/// Locks with metadata of every kind.
fn remote() -> TestRemote {
    let remote = TestRemote::with_pool("aws", &[]);
    let put = |path: &'static str, text: &'static str| Hand::Put(path, "100644", text.as_bytes());
    let locks = [
        put("aws/unclaimed/eu-1", "region: eu\ntags: {gpu: true}\n"),
        put("aws/unclaimed/eu-2", "region: eu\nstate: broken\n"),
        put("aws/unclaimed/us-1", "{\"region\": \"us\", \"size\": 3}"),
        put("aws/unclaimed/plain", "just words"),
        put("aws/unclaimed/unread", "a: ["),
    ];
    remote.commit("locks", &locks);
    remote
}

#[test]
fn a_put_takes_only_a_lock_of_which_the_expression_is_true() {
    for (expression, expected) in [
        (json!({"region": ["us", "asia"]}), "us-1"),
        (
            json!({"region": "eu", "none_of": [{"state": "broken"}]}),
            "eu-1",
        ),
        (json!({"any_of": [{"size": 3}, {"size": 4}]}), "us-1"),
        (json!({"any_of": ["unread", {"region": "mars"}]}), "unread"),
        (
            json!({"none_of": ["eu-1", "us-1", "plain", "unread"]}),
            "eu-2",
        ),
        (json!({"tags": {"any_of": [{"gpu": true}]}}), "eu-1"),
        (
            json!({"any_of": [{"region": ["eu", "us"], "none_of": ["eu-1", {"size": 3}]}]}),
            "eu-2",
        ),
    ] {
        let remote = remote();
        let answer = Step::on(&remote, "aws").put(json!({"acquire": true, "match": expression}));
        assert_eq!(answer.lock(), expected, "{expression}");

        let remote = self::remote();
        let text = expression.to_string();
        let pool = Pool::on(&remote, "aws");
        let acquired = pool.run(&["acquire", "--match", &text]);
        assert_eq!(acquired.text(), format!("{expected}\n"), "{expression}");
    }
    let remote = remote();
    let pool = Pool::on(&remote, "aws");
    let yaml = "{any_of: [nothing, {region: us}]}";
    let both = pool.run(&[
        "run",
        "--match",
        yaml,
        "--match",
        "size=3",
        "--",
        "sh",
        "-c",
        "echo $POOL_LOCK_NAME",
    ]);
    assert_eq!(both.text(), "us-1\n");
}

#[test]
fn an_expression_that_is_none_is_told_with_its_place() {
    let remote = remote();
    for (expression, words) in [
        (
            json!({"any_of": "eu-1"}),
            "`params.match.any_of` must be a list of names",
        ),
        (
            json!({"any_of": [{"region": [["x"]]}]}),
            "`params.match.any_of[0].region[0]` must be a string",
        ),
        (
            json!({"none_of": ["../x"]}),
            "`params.match.none_of[0]` must be the name of a lock",
        ),
    ] {
        let answer = Step::on(&remote, "aws").put(json!({"acquire": true, "match": expression}));
        answer.assert_failed(&[words]);
    }
    let pool = Pool::on(&remote, "aws");
    for (text, words) in [
        ("{any_of: 7}", "`match.any_of` must be a list"),
        ("{any_of: [", "neither JSON nor YAML"),
        ("region", "must be KEY=VALUE, or an expression in braces"),
    ] {
        pool.run(&["acquire", "--match", text])
            .assert_code(2, &[words]);
    }
    let never = pool.run(&["acquire", "--match", "{any_of: [nothing]}"]);
    never.assert_code(2, &["has none whose metadata is as `--match` says"]);
}

#[test]
fn others_in_the_line_know_what_an_expression_wants() {
    let remote = remote();
    for lock in ["eu-1", "us-1"] {
        remote.claim_by_hand("aws", lock);
    }
    let waiting = |n: usize| {
        wait_until("the tickets are there", || {
            remote
                .git(&["for-each-ref", "refs/pool-queue"])
                .lines()
                .count()
                == n
        });
    };
    let first = Pool::on(&remote, "aws").called("first");
    let second = Pool::on(&remote, "aws").called("second");
    let one = first.start(&[
        "acquire",
        "--match",
        "{any_of: [us-1, {tags: {gpu: true}}]}",
    ]);
    waiting(1);
    let line = first.run(&["status", "--json"]);
    let line: Value = serde_json::from_str(line.text()).unwrap();
    let wanted = &line["pools"][0]["line"][0]["match"];
    assert_eq!(wanted, &json!(["any of (us-1, tags.gpu=true)"]));
    // What is free is for nobody before this one.
    let other = second.run(&[
        "acquire",
        "--try",
        "--match",
        "{region: [eu, us], none_of: [us-1, eu-1]}",
    ]);
    assert_eq!(other.text(), "eu-2\n");
    // And what is freed is for the one who came first.
    let two = second.start(&["acquire", "--match", "{region: [us, asia]}"]);
    waiting(2);
    remote.release_by_hand("aws", "us-1");
    assert_eq!(one.finish().text(), "us-1\n");
    remote.release_by_hand("aws", "us-1");
    assert_eq!(two.finish().text(), "us-1\n");
    let message = remote.message(&remote.head());
    assert!(message.contains("Pool-Wanted: region=us|asia"), "{message}");
}
