import type { Metadata } from "next";

import { PrivacyReport } from "@/components/PrivacyReport";

export const metadata: Metadata = { title: "Privacy" };

export default function Privacy() {
  return (
    <>
      <h1>Privacy</h1>
      <p className="lead">What has left this device, and the most that it can reveal about you. The record is kept here, not on a server.</p>
      <PrivacyReport />
    </>
  );
}
