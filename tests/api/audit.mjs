// Runs the GraphQL-over-HTTP audit of the npm package `graphql-http` and prints its findings as JSON.
// Usage: node audit.mjs <url>, in a directory where `graphql-http` and `graphql` are installed.
import { auditServer } from "graphql-http";

const findings = [];
for (const { id, name, status, reason } of await auditServer({ url: process.argv[2] })) {
  findings.push({ id, name, status, reason: reason ?? null });
}
console.log(JSON.stringify(findings));
