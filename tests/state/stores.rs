//! What each store has in it, and how it is read again.

use std::os::unix::fs::PermissionsExt;

use support::TestRemote;
use support::server::http::HttpServer;
use support::server::redis::RedisServer;

use crate::project::{COPIES, Project, REDIS_PASSWORD, redis_source};

#[test]
fn settings_and_secrets_say_where_documents_are_c1() {
    let project = Project::new(
        "mongodb: {isPrimary: true}\n    yamlfile: {path: data.yaml, isPrimary: true}",
    );
    let answer = project.run(&["--init-new", "run-1"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), "run-1\n"));
    assert!(
        answer
            .stderr
            .contains("ERROR - No datasource module found by name: mongodb .. ignoring")
    );

    let none = Project::new("yamlfile: {path: data.yaml}");
    none.fails(
        &["--init-new", "x"],
        "you have no isPrimary=True datasource configured",
    );
    let two = Project::new(
        "jsonfile: {path: a.json, isPrimary: true}\n    yamlfile: {path: a.yaml, isPrimary: true}",
    );
    two.init();
    let answer = two.run(&["--set", "state.k=v"]);
    assert!(
        answer.stderr.contains("the first one counts"),
        "{}",
        answer.stderr
    );
    assert_eq!(two.json("a.json")["state"]["k"], "v");
    let shell = Project::new("shellfile: {path: a.sh, isPrimary: true}");
    shell.fails(
        &["--load"],
        "`datasources.shellfile` cannot be the primary data source",
    );
}

#[test]
fn a_json_file_can_be_primary_and_is_laid_out_as_python_does_c3_c7() {
    let project = Project::new("jsonfile: {path: ./deep/er/data.json, isPrimary: true}");
    project.ok(&["--init-new", "run-1", "--set", "state.k=ü"]);

    let text = project.read("deep/er/data.json");
    assert!(
        text.starts_with("{\n  \"appName\": \"web\",\n  \"channel\": \"#builds\",\n"),
        "{text}"
    );
    assert!(text.contains("\"k\": \"\\u00fc\""), "{text}");
    let keys: Vec<String> = project
        .json("deep/er/data.json")
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let document: BTree = keys.into_iter().collect();
    for key in ["appPipelinesConfig", "jinja2Macros", "state", "variables"] {
        assert!(document.contains(key), "{key}");
    }
    assert_eq!(project.get("state.k"), "ü");
}

type BTree = std::collections::BTreeSet<String>;

#[test]
fn variables_and_macros_are_rendered_at_init_c8() {
    let project = Project::simple();
    project.init();

    assert_eq!(project.get("variables.longer"), "hello web in stage");
    assert_eq!(project.get("jinja2Macros.byName.greet").lines().count(), 0);
    project.ok(&["--init-new", "p", "--init-cicd-context-name", "prod"]);
    let project = project.env("CICDSTATEMGR_CONTEXT_DATA_ID", "p");
    assert_eq!(project.get("channel"), "prod");
}

#[test]
fn base_files_are_merged_below_the_app_file_c6() {
    let project = Project::simple();
    std::fs::create_dir(project.path("bases")).unwrap();
    project.write(
        "bases/one.yaml",
        "cicd-contexts: {stage: {channel: one, list: [1, 2], gone: x, deep: {a: 1}}}\n",
    );
    project.write(
        "bases/two.yaml",
        "bases: [three.yaml]\ncicd-contexts: {stage: {channel: two, list: [3]}}\n",
    );
    project.write(
        "app.yaml",
        "bases: [one.yaml, two.yaml]\ncicd-contexts: {stage: {gone: null, deep: {b: 2}}}\n",
    );
    project.fails(
        &["--init-new", "run-1"],
        "--init-bases-dir <path> is required",
    );

    project.ok(&["--init-new", "run-1", "--init-bases-dir", "bases"]);

    assert_eq!(project.get("channel"), "two");
    assert_eq!(project.get("list"), "[3]");
    assert_eq!(project.get("deep"), r#"{"a": 1, "b": 2}"#);
    assert_eq!(project.get("gone"), "");
    project.write("bases/two.yaml", "cicd-contexts: {stage: {channel: [2]}}\n");
    project.fails(
        &["--init-new", "run-1", "--init-bases-dir", "bases"],
        "Overlapping keys exist with different types: original is <class 'str'>, new value is <class 'list'>",
    );
    project.write("app.yaml", "bases: [none.yaml]\n");
    project.fails(
        &["--init-new", "run-1", "--init-bases-dir", "bases"],
        "bases/none.yaml",
    );
}

#[test]
fn a_local_copy_is_read_only_if_it_is_of_the_id_that_is_asked_for_c24() {
    let mut redis = RedisServer::start(REDIS_PASSWORD);
    let project = Project::on_redis(&redis);
    project.ok(&["--init-new", "a", "--set", "state.k=of a"]);
    project.ok(&["--init-new", "b", "--set", "state.k=of b"]);
    let get = |id: &str| project.ok(&["--id", id, "--get", "state.k"]);

    assert_eq!(get("a"), "of a\n");
    assert_eq!(project.read("local/id"), "a");
    assert_eq!(get("b"), "of b\n");
    project.ok(&["--id", "a", "--set", "state.k=new"]);
    assert_eq!(
        (get("a"), get("b"), get("a")),
        ("new\n".to_owned(), "of b\n".to_owned(), "new\n".to_owned())
    );
    // Without its server, what is here is still read.
    redis.stop("KILL");
    assert_eq!(get("a"), "new\n");
}

#[test]
fn redis_alone_is_enough_c28() {
    let redis = RedisServer::start(REDIS_PASSWORD);
    let project = Project::new(&redis_source(&redis)).with_redis_password();
    project.init();

    project.ok(&["--set", "state.k=v"]);
    project.ok(&["--handle-event", "build=set"]);

    assert_eq!(project.get("state.k"), "v");
    project.fails(
        &["--id", "other", "--get", "state.k"],
        "load() other cicdContextData is NULL",
    );
    project.fails(
        &["--id", "other", "--set", "state.k=v"],
        "there is no document of this id",
    );
}

#[test]
fn what_the_original_has_written_to_redis_is_read_and_what_is_written_it_can_read() {
    let redis = RedisServer::start(REDIS_PASSWORD);
    let project = Project::new(&redis_source(&redis)).with_redis_password();
    redis.cli(&[
        "set",
        "run-1",
        "a: 1\nstate:\n  cicdContextDataId: run-1\n  cicdContextName: stage\n",
    ]);

    project.ok(&["--set", "state.k[]=x"]);

    let text = redis.cli(&["get", "run-1"]);
    assert!(
        text.starts_with(
            "a: 1\nstate:\n  cicdContextDataId: run-1\n  cicdContextName: stage\n  k:\n  - x\n# "
        ),
        "{text}"
    );
    redis.cli(&["set", "other", "no document"]);
    redis.cli(&["rpush", "a-list", "x"]);
    assert_eq!(project.ok(&["--list"]), "run-1\n");
    project.ok(&["--delete", "run-1"]);
    assert_eq!(redis.cli(&["exists", "run-1"]), "0");
    project.fails(&["--delete", "run-1"], "there is no document of this id");
}

#[test]
fn files_are_for_their_owner_alone_and_links_stay() {
    let redis = RedisServer::start(REDIS_PASSWORD);
    let project = Project::on_redis(&redis);
    std::fs::create_dir_all(project.path("local")).unwrap();
    std::fs::create_dir_all(project.path("real")).unwrap();
    project.write("real/there.json", "{}");
    std::os::unix::fs::symlink("../real/there.json", project.path("local/data.json")).unwrap();
    // What this one leads to is not there yet.
    std::os::unix::fs::symlink("../real/new.yaml", project.path("local/data.yaml")).unwrap();

    project.init();

    for file in [
        "real/new.yaml",
        "real/there.json",
        "local/data.sh",
        "local/id",
    ] {
        let mode = std::fs::metadata(project.path(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    for link in ["local/data.json", "local/data.yaml"] {
        let found = std::fs::symlink_metadata(project.path(link)).unwrap();
        assert!(found.is_symlink(), "{link}");
    }
    assert_eq!(
        project.json("real/there.json")["state"]["cicdContextDataId"],
        "run-1"
    );
    project.ok(&["--delete", "run-1"]);
    assert!(!project.path("local/data.yaml").exists() && !project.path("local/id").exists());
}

#[test]
fn a_path_whose_links_lead_in_a_circle_is_refused() {
    let project =
        Project::with_config("  yamlfile: {path: local/data.yaml, isPrimary: true}\n", "");
    std::fs::create_dir_all(project.path("local")).unwrap();
    std::os::unix::fs::symlink("data.yaml", project.path("local/data.yaml")).unwrap();
    project.fails(&["--init-new", "run-1"], "circle");
}

#[test]
fn who_cannot_lock_a_folder_leaves_alone_what_somebody_else_writes_there() {
    let redis = RedisServer::start(REDIS_PASSWORD);
    let project = Project::on_redis(&redis);
    std::fs::create_dir_all(project.path("local")).unwrap();
    // Somebody else's, who may be in the midst of it.
    project.write("local/.data.yaml.new", "half");
    std::fs::create_dir(project.path("local/.cicdstatemgr.lock")).unwrap();

    project.init();

    assert_eq!(project.read("local/.data.yaml.new"), "half");
    assert!(project.read("local/data.yaml").contains("run-1"));
    let names = std::fs::read_dir(project.path("local")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 6, "{names:?}");
}

#[test]
fn a_lock_that_is_no_file_is_told_and_waited_for_by_nobody() {
    let project =
        Project::with_config("  yamlfile: {path: local/data.yaml, isPrimary: true}\n", "");
    std::fs::create_dir_all(project.path("local")).unwrap();
    let lock = project.path("local/.cicdstatemgr.lock");
    let made = std::process::Command::new("mkfifo").arg(&lock).status();
    assert!(made.unwrap().success());
    project.fails(&["--init-new", "run-1"], "cannot lock");
    std::fs::remove_file(&lock).unwrap();
    // A link could have a file made elsewhere, in our name.
    std::os::unix::fs::symlink("../elsewhere", &lock).unwrap();
    project.fails(&["--init-new", "run-1"], "cannot lock");
    assert!(!project.path("elsewhere").exists());
}

#[test]
fn a_file_has_one_document_and_does_not_give_it_away_for_another() {
    let project = Project::simple();
    project.init();

    project.fails(
        &["--id", "other", "--get", "state"],
        "has the document `run-1`, not `other`",
    );
    project.fails(
        &["--id", "other", "--set", "state.k=v"],
        "has the document `run-1`, not `other`",
    );
    assert_eq!(project.ok(&["--list"]), "run-1\n");
    // As in the simple example, a new one takes its place.
    project.ok(&["--init-new", "other"]);
    assert_eq!(project.ok(&["--list"]), "other\n");
}

#[test]
fn in_git_each_change_is_a_commit_that_says_who_and_what() {
    let remote = TestRemote::empty("locks");
    let project = Project::on_git(&remote.uri())
        .env("CI_PROJECT_PATH", "ops/web")
        .env("CI_JOB_NAME", "deploy")
        .env("CI_JOB_ID", "4711");
    project.ok(&["--init-new", "run/1"]);
    project.ok(&[
        "--id",
        "run/1",
        "--set",
        "state.secret=MARKER-value|state.b=2",
    ]);
    project.ok(&["--init-new", "other"]);
    project.ok(&["--id", "run/1", "--unset", "state.b"]);
    project.ok(&["--id", "run/1", "--load"]);

    let git = |args: &[&str]| remote.git(args);
    let subjects = git(&["log", "--format=%s", "cicdstatemgr"]);
    assert_eq!(
        subjects,
        "GitLab ops/web deploy #4711 set state.b of run/1\nGitLab ops/web deploy #4711 init other\n\
         GitLab ops/web deploy #4711 set state.secret, state.b of run/1\nGitLab ops/web deploy #4711 init run/1"
    );
    assert_eq!(
        git(&["ls-tree", "-r", "--name-only", "cicdstatemgr"]),
        "docs/other.yaml\ndocs/run%2F1.yaml"
    );
    assert_eq!(project.ok(&["--list"]), "other\nrun/1\n");
    let history = project.ok(&["--history", "run/1"]);
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!(lines.len(), 3, "{history}");
    assert!(
        lines[0].ends_with(" GitLab ops/web deploy #4711 set state.b of run/1"),
        "{history}"
    );
    project.ok(&["--delete", "other"]);
    assert_eq!(project.ok(&["--list"]), "run/1\n");
    project.fails(&["--history", "never"], "there is no document of this id");
    project.fails(
        &["--id", "other", "--get", "state"],
        "there is no document of this id",
    );
    Project::simple().init().fails(
        &["--history", "run-1"],
        "only a primary data source of the type `git`",
    );
}

#[test]
fn git_works_over_http_and_as_a_copy() {
    let remote = TestRemote::empty("main");
    remote.git(&["config", "http.receivepack", "true"]);
    let server = HttpServer::with_user(remote.root(), "ci", "MARKER-password");
    let source = format!(
        "git: {{uri: '{}', branch: main, username: ci, password: MARKER-password",
        server.uri()
    );
    let project = Project::new(&format!("{source}, isPrimary: true}}"));
    project.init();
    project.ok(&["--set", "state.k=v"]);
    assert_eq!(project.get("state.k"), "v");

    let copy = Project::new(&format!(
        "yamlfile: {{path: ./data.yaml, isPrimary: true}}\n    {source}, path: copies}}"
    ));
    copy.ok(&["--init-new", "copied"]);
    copy.ok(&["--id", "copied", "--set", "state.k=w"]);
    assert!(
        remote
            .git(&["show", "main:copies/copied.yaml"])
            .contains("k: w")
    );

    let wrong = Project::new("git: {uri: 'ftp://x/y', isPrimary: true}");
    wrong.fails(&["--load"], "`datasources.git.uri` starts with `ftp://`");
    let wrong = Project::new("git: {uri: '/x', branch: '..', isPrimary: true}");
    wrong.fails(&["--load"], "branch");
    let wrong = Project::new("git: {uri: '/x', path: '../y', isPrimary: true}");
    wrong.fails(&["--load"], "`datasources.git.path`");
    let wrong = source.replace("MARKER-password", "MARKER-wrong");
    let wrong = Project::new(&format!("{wrong}, isPrimary: true}}"));
    let answer = wrong.run(&["--load"]);
    assert_eq!(answer.code, Some(1));
    assert!(
        answer.stderr.contains("does not let us in") && !answer.stderr.contains("MARKER-wrong"),
        "{}",
        answer.stderr
    );
}

#[test]
fn a_copy_that_cannot_be_written_is_told_by_its_name_and_is_no_error_c4() {
    let redis = RedisServer::start(REDIS_PASSWORD);
    let project = Project::new(&(redis_source(&redis) + COPIES)).with_redis_password();
    std::fs::create_dir_all(project.path("local/data.json")).unwrap();
    project.write("local/data.json/in", "the way");

    let answer = project.run(&["--init-new", "run-1"]);

    assert_eq!(answer.code, Some(0));
    assert!(
        answer
            .stderr
            .contains("WARNING - the data source `jsonfile` is not up to date: cannot write"),
        "{}",
        answer.stderr
    );
    assert!(project.path("local/data.yaml").exists() && project.path("local/id").exists());
}

#[test]
fn a_branch_that_somebody_has_rewritten_is_taken_as_it_is_now() {
    let remote = TestRemote::empty("locks");
    let project = Project::on_git(&remote.uri());
    project.init();
    project.ok(&["--set", "state.a=1"]);
    let before = remote.git(&["rev-parse", "cicdstatemgr"]);
    let tree = format!("{}^{{tree}}", before.trim());
    let alone = remote.git(&["commit-tree", "-m", "rewritten", &tree]);
    for (commit, key) in [(before.trim(), "b"), (alone.trim(), "c")] {
        project.ok(&["--set", &format!("state.{key}=2")]);
        remote.git(&["update-ref", "refs/heads/cicdstatemgr", commit]);

        project.ok(&["--set", "state.after=3"]);

        // What was thrown away does not come back, and nothing else is lost.
        let values = ["a", key, "after"].map(|key| project.get(&format!("state.{key}")));
        assert_eq!(values, ["1", "", "3"]);
        let parent = remote.git(&["rev-parse", "cicdstatemgr^"]);
        assert_eq!(parent.trim(), commit);
    }
}
