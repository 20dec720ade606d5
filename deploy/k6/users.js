// Drives the application of users through Weir: reads and writes at fixed rates, whatever happens to the database.
//
//   k6 run --console-output calls.log -e BASE_URL=http://localhost:8080 -e SECONDS=60 deploy/k6/users.js
//
// Each line of the console output is a call: `write NAME STATUS` or `read TIME STATUS`, the time in milliseconds. A name that was
// answered with 201 must be in the database exactly once. K6_WEB_DASHBOARD=true K6_WEB_DASHBOARD_EXPORT=report.html keeps a report.
import http from 'k6/http';
import { check } from 'k6';
import exec from 'k6/execution';

const base = __ENV.BASE_URL || 'http://localhost:8080';
const duration = `${__ENV.SECONDS || 60}s`;
const rate = (calls, name) => ({
  executor: 'constant-arrival-rate',
  rate: calls,
  timeUnit: '1s',
  duration,
  preAllocatedVUs: 20,
  maxVUs: 300,
  exec: name,
});

export const options = {
  scenarios: { reads: rate(100, 'read'), writes: rate(30, 'write') },
  // Writes have to fail while there is no primary; reads have not.
  thresholds: {
    'http_req_failed{scenario:reads}': ['rate<0.01'],
    'checks{scenario:reads}': ['rate>0.99'],
  },
  discardResponseBodies: false,
  summaryTrendStats: ['med', 'p(99)', 'max'],
};

export function read() {
  const answer = http.get(`${base}/users`, { timeout: '5s' });
  check(answer, { 'users are listed': (answer) => answer.status === 200 && Array.isArray(answer.json()) });
  console.log(`read ${Date.now()} ${answer.status}`);
}

export function write() {
  const name = `user-${exec.scenario.iterationInTest}`;
  const answer = http.post(`${base}/users/create`, JSON.stringify({ name }), {
    headers: { 'Content-Type': 'application/json' },
    timeout: '10s',
  });
  console.log(`write ${name} ${answer.status}`);
}
