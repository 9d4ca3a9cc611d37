"use client";

import Link from "next/link";
import { usePathname } from "next/navigation";

const PAGES = [
  ["/", "Transactions"],
  ["/privacy", "Privacy"],
] as const;

export function Navigation() {
  const here = usePathname();
  return (
    <nav aria-label="Pages">
      {PAGES.map(([path, name]) => (
        <Link key={path} href={path} prefetch={false} aria-current={path === here ? "page" : undefined}>
          {name}
        </Link>
      ))}
    </nav>
  );
}
