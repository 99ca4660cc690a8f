#!/usr/bin/env python3
"""Sums the times of kernels: ncu --metrics gpu__time_duration.sum --csv PROGRAM > FILE; kernel_table.py FILE."""
import csv,sys,collections,re
rows=[l for l in open(sys.argv[1]) if l.startswith('"')]
r=csv.DictReader(rows)
t=collections.defaultdict(lambda:[0,0.0])
for x in r:
    if x.get('Metric Name')!='gpu__time_duration.sum': continue
    v=float(x['Metric Value'].replace(',',''))
    u=x['Metric Unit']
    v*= {'nsecond':1e-3,'ns':1e-3,'usecond':1,'us':1,'msecond':1e3,'ms':1e3}[u]
    n=x['Kernel Name'].replace('(anonymous namespace)::','').replace('<unnamed>::','').replace('void ',''); n=re.sub(r'<.*','',n); n=re.sub(r'\(.*','',n)
    if 'nvjet' in x['Kernel Name'] or 'gemm' in x['Kernel Name'] or 'cutlass' in x['Kernel Name'] : n=x['Kernel Name'][:60]+' grid'+x.get('Grid Size','')
    t[n][0]+=1; t[n][1]+=v
tot=sum(v[1] for v in t.values())
for n,(c,v) in sorted(t.items(),key=lambda a:-a[1][1])[:40]: print(f"{v:10.1f} us {100*v/tot:5.1f}% {c:6d} x {v/c:8.2f}  {n}")
print("total us",tot)
