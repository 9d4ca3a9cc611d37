import type { Metadata, Viewport } from "next";
import { connection } from "next/server";
import type { ReactNode } from "react";

import { Navigation } from "@/components/Navigation";
import { StatusBar } from "@/components/StatusBar";
import { settings } from "@/lib/settings";
import { RoundProvider } from "@/scale/useRound";
import { ScaleProvider } from "@/scale/useScale";
import { TransactionsProvider } from "@/scale/useTransactions";

import "./styles/base.css";
import "./styles/page.css";
import "./styles/round.css";
import "./styles/transactions.css";
import "./styles/privacy.css";

export const metadata: Metadata = {
  title: { default: "Transactions", template: "%s - SCALE FL" },
  description: "Transactions categorized in the browser, by a model that the browser helps to train.",
};

export const viewport: Viewport = { colorScheme: "light dark" };

export default async function Layout({ children }: { children: ReactNode }) {
  // Rendered for each request: the settings are those of now, and scripts carry this answer's nonce.
  await connection();
  const { service, problem } = settings();
  return (
    <html lang="en">
      <body>
        <a className="skip" href="#main">
          Skip to the content
        </a>
        <header className="top">
          <div className="inside">
            <p className="brand">
              <Mark /> SCALE FL
            </p>
            <Navigation />
          </div>
        </header>
        {service ? (
          <ScaleProvider service={service}>
            <TransactionsProvider>
              <RoundProvider>
                <StatusBar />
                <main id="main" tabIndex={-1} className="inside">
                  {children}
                </main>
              </RoundProvider>
            </TransactionsProvider>
          </ScaleProvider>
        ) : (
          <main id="main" className="inside">
            <div className="notice bad" role="alert">
              <p>
                <strong>This server is not set up.</strong> {problem}
              </p>
            </div>
          </main>
        )}
      </body>
    </html>
  );
}

/** Several bars that become one: devices, and the model that they make. */
function Mark() {
  return (
    <svg className="mark" viewBox="0 0 24 24" aria-hidden="true">
      <path d="M4 5v4c0 2 8 2 8 5v5M12 5v14M20 5v4c0 2-8 2-8 5" />
      <circle cx="12" cy="19" r="2.5" />
    </svg>
  );
}
