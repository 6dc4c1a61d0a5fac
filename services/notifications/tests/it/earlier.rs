//! The paths of the earlier system.

use chat_events::ConversationId;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Person, Stack, json as body, message, stored};

async fn delete(stack: &Stack, person: &Person, name: &str, ids: &[&str]) -> Response {
    let notifs: Vec<Value> = ids.iter().map(|id| json!({ "ID": id })).collect();
    stack
        .request(Method::DELETE, &format!("/ws/notifications/{name}"))
        .bearer_auth(&person.token)
        .json(&json!({ "notifs": notifs }))
        .send()
        .await
        .expect("an answer")
}

#[tokio::test]
async fn the_earlier_paths_list_and_delete_the_callers_own_notices() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let sent = message(ConversationId::generate(), 1, &ann, "not shown here");
    stack.publish(stored(&[&ann, &ben], &sent)).await;
    stack.unread(&ben, 1).await;
    let list = async || {
        let answer = stack.get("/ws/notifications/ben", &ben).send().await;
        body(answer.expect("an answer"), StatusCode::OK).await
    };
    let first = list().await;
    let notif = &first["notifs"][0];
    let id = notif["ID"].as_str().expect("an id");
    assert_eq!(
        notif,
        &json!({
            "ID": id,
            "sender": "ann",
            "receiver": "ben",
            "content": "Message received from ann",
            "type": "user.sent.message",
            "createdAt": notif["createdAt"],
            "updatedAt": notif["createdAt"],
        })
    );
    assert_eq!(list().await, first, "reading does not delete");
    let answer = delete(&stack, &ben, "ben", &[id]).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(list().await, json!({ "notifs": [] }));
    assert_eq!(stack.list(&ben).await["unread"], 0);
}

#[tokio::test]
async fn the_earlier_paths_answer_403_for_any_other_name_or_notice() {
    let stack = Stack::start().await;
    let (ann, ben, eve) = (
        stack.person("ann").await,
        stack.person("ben").await,
        stack.person("eve").await,
    );
    let sent = message(ConversationId::generate(), 1, &ann, "for Ben");
    stack.publish(stored(&[&ann, &ben], &sent)).await;
    let list = stack.unread(&ben, 1).await;
    let id = list["notices"][0]["id"].as_str().expect("an id");
    for name in ["ben", "Eve", "nobody", "%00", "eve%20"] {
        let path = format!("/ws/notifications/{name}");
        let answer = stack.get(&path, &eve).send().await.expect("an answer");
        assert_eq!(
            body(answer, StatusCode::FORBIDDEN).await["code"],
            "forbidden"
        );
        let answer = delete(&stack, &eve, name, &[id]).await;
        assert_eq!(
            body(answer, StatusCode::FORBIDDEN).await["code"],
            "forbidden"
        );
    }
    let answer = delete(&stack, &eve, "eve", &[id]).await;
    assert_eq!(
        body(answer, StatusCode::FORBIDDEN).await["code"],
        "forbidden"
    );
    assert_eq!(stack.list(&ben).await, list, "nothing has changed");
}
