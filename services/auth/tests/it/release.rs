use crate::browser::Browser;
use crate::server::{Auth, change};

#[tokio::test]
async fn an_older_release_works_on_the_database_of_a_newer_one() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    drop(Auth::start(&cluster).await?);
    // As the migration of a newer release leaves it behind.
    change(
        &cluster,
        "alter table accounts add column of_a_newer_release text",
    )
    .await?;
    change(
        &cluster,
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (29990101000000, 'newer', true, 'checksum', 1)",
    )
    .await?;
    let older = Auth::start(&cluster).await?;
    Browser::new(&older).sign_up("cecile").await?;
    Ok(())
}
