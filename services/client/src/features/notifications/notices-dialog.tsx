import { Link } from "react-router";

import { sentence, type RequestError } from "../../api/problem";
import type { NoticeView } from "../../api/types";
import { Dialog } from "../../ui/dialog";
import { Icon } from "../../ui/icon";
import { Spinner } from "../../ui/spinner";
import { briefly } from "../../ui/time";
import { Trouble } from "../../ui/trouble";
import { useDeleteNoticeMutation, useNoticesInfiniteQuery, useReadAllNoticesMutation } from "./notices-api";
import { useSender } from "./use-sender";

export function NoticesDialog({ onClose }: { onClose(): void }) {
  const query = useNoticesInfiniteQuery();
  const [readAll, { isLoading: reading }] = useReadAllNoticesMutation();
  const [remove] = useDeleteNoticeMutation();
  const notices = query.data?.pages.flatMap((page) => page.notices) ?? [];
  const unread = query.data?.pages[0]?.unread ?? 0;

  return (
    <Dialog title="Notices" onClose={onClose}>
      {query.isLoading && <Spinner label="Loading…" />}
      {query.isError && <Trouble onRetry={() => void query.refetch()}>{sentence(query.error as RequestError)}</Trouble>}
      {query.isSuccess && notices.length === 0 && <p className="py-6 text-center text-sm text-muted">Nothing new. Messages that come while you are away are listed here.</p>}
      {unread > 0 && (
        <button type="button" className="button-quiet mb-3" disabled={reading} onClick={() => void readAll()}>
          Mark all as read
        </button>
      )}
      {notices.length > 0 && (
        <ul aria-label="Notices" className="-mx-3">
          {notices.map((notice) => (
            <Notice key={notice.id} notice={notice} onOpen={onClose} onDelete={() => void remove(notice.id)} />
          ))}
        </ul>
      )}
      {query.hasNextPage && (
        <button type="button" className="button-quiet mt-3 w-full" disabled={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
          Show more
        </button>
      )}
    </Dialog>
  );
}

interface NoticeProps {
  notice: NoticeView;
  onOpen(): void;
  onDelete(): void;
}

function Notice({ notice, onOpen, onDelete }: NoticeProps) {
  const sender = useSender(notice);
  return (
    <li className="flex items-center gap-1 rounded-2xl hover:bg-hover">
      <Link to={`/c/${encodeURIComponent(notice.conversation_id)}`} onClick={onOpen} className="min-w-0 flex-1 rounded-2xl px-3 py-2.5">
        <span className="flex items-baseline gap-2">
          {!notice.read_at && (
            <span className="size-2 shrink-0 self-center rounded-full bg-signal">
              <span className="sr-only">Unread:</span>
            </span>
          )}
          <span className={`truncate ${notice.read_at ? "" : "font-semibold"}`}>{sender}</span>
          <time dateTime={notice.created_at} className="ml-auto shrink-0 text-xs text-muted">
            {briefly(new Date(notice.created_at), new Date())}
          </time>
        </span>
        <span className="block truncate text-sm text-muted">{notice.preview}</span>
      </Link>
      <button type="button" className="icon-button" aria-label={`Delete notice from ${sender}`} onClick={onDelete}>
        <Icon name="trash" className="size-[1.125rem]" />
      </button>
    </li>
  );
}
