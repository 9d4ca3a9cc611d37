import type { NextConfig } from "next";

const config: NextConfig = {
  // Otherwise Next looks for lock files in the folders above.
  turbopack: { root: import.meta.dirname },
  poweredByHeader: false,
  devIndicators: false,
};

export default config;
