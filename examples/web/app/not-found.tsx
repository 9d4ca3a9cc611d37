import Link from "next/link";

// Next's own page has style attributes, which the policy refuses.
export default function NotFound() {
  return (
    <>
      <h1>There is no such page</h1>
      <p>
        <Link href="/">To your transactions</Link>
      </p>
    </>
  );
}
