interface Props {
  children: string;
  onRetry(): void;
}

/** Something could not be loaded. */
export function Trouble({ children, onRetry }: Props) {
  return (
    <div role="alert" className="m-4 rounded-2xl border border-line bg-raised p-4 text-sm">
      <p>{children}</p>
      <button type="button" className="button-quiet mt-3" onClick={onRetry}>
        Try again
      </button>
    </div>
  );
}
